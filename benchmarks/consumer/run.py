"""One run of the consumer over a topic that is full: what it published, at which rate, and what it used for that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.consumer.matches import Matches, PublishedEvent, watching_matches
from benchmarks.consumer.processes import Consumers, running_consumers
from benchmarks.consumer.site import Site
from benchmarks.frames import camera_names, publish_all, records_of
from benchmarks.steady import steady_event_rate
from framematch.core.settings import KafkaSettings

WARM_UP_BATCHES = 2
_MS_PER_S = 1_000


@dataclass(frozen=True)
class Run:
    """The match events of a run, and the CPU time of the consumers from then on until all of these were read."""

    events: tuple[PublishedEvent, ...]
    cpu_s: float
    batch_size: int

    @property
    def frames_per_s(self) -> float:
        """In the steady state: neither the start nor the first two batches count."""
        return steady_event_rate([event.at_s for event in self.events], warm_up=WARM_UP_BATCHES * self.batch_size)

    @property
    def cpu_ms_per_frame(self) -> float:
        """Of all consumer processes."""
        return _MS_PER_S * self.cpu_s / len(self.events)


async def run_consumer(site: Site, kafka: KafkaSettings, events: int, **settings: str) -> Run:
    """Start a consumer in a group of its own, let it answer the topic from its start, and stop it.

    `settings` are environment variables; `events` is how many match events the topic gives.

    Raises:
        FramematchError: it ended early, or the events did not come in time.
    """
    async with watching_matches(kafka) as matches:
        with running_consumers(site.environment(kafka, **settings), site.folder) as consumers:
            run = await observe(site, matches, consumers, events)
            consumers.stop()
            return run


async def observe(site: Site, matches: Matches, consumers: Consumers, events: int) -> Run:
    """What running consumers do until the next `events` events are there.

    Raises:
        FramematchError: one ended early, or the events did not come in time.
    """
    before_s = consumers.cpu_s()
    found = await matches.collect(events, consumers.check)
    return Run(tuple(found), consumers.cpu_s() - before_s, site.batch_size)


async def fill_frozen(site: Site, kafka: KafkaSettings, consumers: Consumers, *, frames: int, cameras: int) -> None:
    """Freeze the consumers, publish `frames` frames, and let them go.

    So each begins at the same moment with a full topic, whatever its start took.
    """
    with consumers.frozen():
        await publish_all(kafka, records_of(site.jpegs, camera_names(cameras, kafka.partitions), frames))


def mean_stages_ms(timings_ms: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over frames of each stage; the age of a frame of a prefilled topic says nothing."""
    stages = sorted(timings_ms[0].keys() - {"age"})
    return {stage: sum(timings[stage] for timings in timings_ms) / len(timings_ms) for stage in stages}
