"""Decides the frames of a time range again, and yields how the answers differ from those that were published.

    .frames  ──► FrameRecords ──► Decider ──┐
                                            ├──► Pairing ──► pairs, and answers without their other half
    .matches ──► PublishedEvents ───────────┘

Partitions take turns, a few megabytes of frames at a time.
"""

import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord, TopicPartition

from consumers.in_flight_frame import Decided, InFlightFrame, Rejected
from consumers.replay.decider import Decider
from consumers.replay.frame_records import FrameRecords, FramesPlan, TimedConsumer, plan_frames
from consumers.replay.pairing import Found, Pairing, replayed_answers
from consumers.replay.published_events import PublishedEvents
from consumers.replay.time_range import TimeRange
from consumers.sightings.recent_frames import RecentFrames
from framematch.core.progress import OnProgress

_MAX_CAMERAS = 2_000  # that are counted: a key may be anything


@dataclass
class Reading:
    """What was read so far. `undecided` counts frames by the reason why they cannot be decided again."""

    frames: int = 0
    repeats: int = 0
    undecided: Counter[str] = field(default_factory=Counter)
    cameras: Counter[str] = field(default_factory=Counter)
    gone_before_us: dict[int, int] = field(default_factory=dict)
    deleted_partitions: set[int] = field(default_factory=set)
    finished: bool = False


class _Partition:
    """One partition of frames: what reads it, and what pairs it."""

    def __init__(self, plan: FramesPlan, records: FrameRecords) -> None:
        self.plan = plan
        self.number = plan.partition.partition
        self.records = records
        self.pairing = Pairing(plan.start)
        self.recent = RecentFrames()
        self.total = plan.expected_stop - plan.start

    @property
    def done(self) -> int:
        """The offsets that were read, of `total`."""
        return min(self.records.position, self.plan.expected_stop) - self.plan.start


class Replay:
    """Replays one range; `reading` says what was read, also when it is ended early."""

    def __init__(
        self,
        consumer: TimedConsumer,
        decider: Decider,
        wanted: TimeRange,
        *,
        camera: str | None = None,
        on_progress: OnProgress = lambda _done, _total: None,
    ) -> None:
        self._consumer = consumer
        self._decider = decider
        self._wanted = wanted
        self._camera = camera
        self._on_progress = on_progress
        self.reading = Reading()

    async def run(
        self, frames: Sequence[TopicPartition], matches: Sequence[TopicPartition], *, deleted_before_us: int
    ) -> AsyncGenerator[Found, None]:
        """Yield what is found, in about the order of the frames; what has no published event comes last.

        Raises:
            KafkaUnavailableError, TritonUnavailableError: a server does not answer.
            ModelError: the model is broken, or Triton serves another one now.
            KafkaError: as of aiokafka.
        """
        plans = await plan_frames(self._consumer, frames, self._wanted, deleted_before_us=deleted_before_us)
        partitions = [_Partition(plan, FrameRecords(self._consumer, plan, self._wanted)) for plan in plans]
        for own in partitions:
            if own.plan.gone_before_us is not None:
                self.reading.gone_before_us[own.number] = own.plan.gone_before_us
        pairings = {own.number: own.pairing for own in partitions}
        published = PublishedEvents(self._consumer, matches, pairings, frames_topic=frames[0].topic)
        unread = list(partitions)
        while unread:
            for own in list(unread):
                if (records := await own.records.read()) is None:
                    unread.remove(own)
                    continue
                decided = await self._decide(records)
                for found in self._pair(own, decided):
                    yield found
                for found in await published.catch_up(own.number, self._since_us(decided)):
                    yield found
                self._on_progress(sum(one.done for one in partitions), sum(one.total for one in partitions))
        for own in partitions:
            for found in [*await published.read_to_end(own.number), *own.pairing.finish()]:
                yield found
        self.reading.finished = True

    def _since_us(self, frames: Sequence[InFlightFrame]) -> int:
        """Events of the range are not older than this; the clock of a camera may be ahead of the edge's."""
        arrived = (frame.header.arrived_at_us for frame in frames if frame.header)
        return min([self._wanted.since_us, *arrived])

    async def _decide(self, records: Sequence[ConsumerRecord]) -> list[InFlightFrame]:
        """Decide the records of the camera."""
        frames = [InFlightFrame(one, one.partition, time.time_ns()) for one in records if self._is_wanted(one)]
        await self._decider.decide(frames)
        return frames

    def _pair(self, own: _Partition, frames: Sequence[InFlightFrame]) -> list[Found]:
        """Pair what the frames give, which are all of the partition up to its position."""
        found: list[Found] = []
        for frame in frames:
            self.reading.frames += 1
            if isinstance(frame.outcome, Rejected):
                self.reading.undecided[frame.outcome.error.reason] += 1
                own.pairing.add_undecided(frame.record.offset)
            elif not self._is_repeat(own, frame):
                found += own.pairing.add_replayed(replayed_answers(frame))
        if own.records.deleted_below:
            self.reading.deleted_partitions.add(own.number)
        return [*found, *own.pairing.read_to(own.records.position)]

    def _is_wanted(self, record: ConsumerRecord) -> bool:
        camera = (record.key or b"").decode(errors="replace")
        if camera in self.reading.cameras or len(self.reading.cameras) < _MAX_CAMERAS:
            self.reading.cameras[camera] += 1
        return self._camera in (None, camera)

    def _is_repeat(self, own: _Partition, frame: InFlightFrame) -> bool:
        """Whether the frame has another record shortly before this one: consumers publish nothing for it."""
        if frame.header is None or not isinstance(frame.outcome, Decided):
            return False
        repeats = not own.recent.add(frame.header.camera, frame.header.id)
        self.reading.repeats += repeats
        return repeats
