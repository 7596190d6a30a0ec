"""Sightings are restored from published match events, on a real broker."""

import asyncio
import uuid
from collections.abc import Iterable

import pytest
from aiokafka import TopicPartition
from structlog.testing import capture_logs

from consumers.metrics import ConsumerMetrics
from consumers.sightings import restore as sightings
from consumers.sightings.event_history import new_reader
from consumers.sightings.restore import restore
from consumers.sightings.sightings import Sightings
from framematch.core.errors import KafkaUnavailableError
from framematch.core.events import MatchEvent, SightingEvent, encode
from framematch.core.health import new_registry
from framematch.core.kafka.clients import new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us
from framematch.matching.sightings import SightingTracker
from framematch.stack.kafka import KafkaServer
from tests.unit.matching.fake_frames import SETTINGS, Clock, changes, frame_events

pytestmark = pytest.mark.integration

PAUSE_MS = 600_000


class Site:
    """Topics of the test's own, and a consumer's tracker whose events are published there."""

    def __init__(self, kafka: KafkaServer) -> None:
        prefix = f"sightings-{uuid.uuid4().hex[:8]}"
        self.kafka = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, partitions=3)
        self.topics = Topics(prefix)
        self.clock = Clock()
        self.tracker = SightingTracker(SETTINGS, clock=self.clock)

    def observe(self, frames: Iterable[list[MatchEvent]]) -> tuple[list[MatchEvent], list[SightingEvent]]:
        observed = [self.tracker.observe(frame) for frame in frames]
        return [e for one in observed for e in one.events], [s for one in observed for s in one.sightings]

    async def publish(
        self,
        events: Iterable[MatchEvent | SightingEvent | bytes],
        *,
        ago_ms: int = 0,
        partition: int = 0,
        by_key: bool = False,
    ) -> None:
        """As the consumer would, with the same time for all records."""
        await ensure_topics(self.kafka)
        at_ms = now_us() // 1_000 - ago_ms
        acknowledged = []
        async with started(new_producer(self.kafka), self.kafka) as producer:
            for event in events:
                topic = self.topics.sightings if isinstance(event, SightingEvent) else self.topics.matches
                value = event if isinstance(event, bytes) else encode(event)
                own = event.frame.partition if isinstance(event, MatchEvent) and not by_key else partition
                acknowledged.append(await producer.send(topic, value, partition=own, timestamp_ms=at_ms))
            await asyncio.gather(*acknowledged)

    async def successor(
        self, committed: dict[int, int | None], counts: dict[str, int] | None = None
    ) -> SightingTracker:
        """The tracker of a consumer that takes over at these offsets."""
        tracker = SightingTracker(SETTINGS, clock=self.clock)
        await restore(self.kafka, tracker, committed, counts or dict.fromkeys(self.topics.all, 3))
        return tracker


@pytest.fixture
def site(kafka: KafkaServer) -> Site:
    return Site(kafka)


def stay(first: int, last: int, *, camera: int = 0, every_s: float = 0.2) -> list[list[MatchEvent]]:
    """Frames `first` to before `last` of a camera in partition 0 or 1, all of which show milk."""
    return [
        frame_events(
            number * every_s,
            "milk",
            camera=f"till-{camera}",
            number=number,
            offset=1_000 * (camera // 2) + number,
            partition=camera % 2,
        )
        for number in range(first, last)
    ]


async def test_the_next_consumer_continues_with_the_same_state(site: Site) -> None:
    for camera in range(3):
        events, _ = site.observe(stay(0, 21, camera=camera))
        await site.publish(events)
    successor = await site.successor({0: 1_021, 1: 21, 2: 0})
    assert successor.open_sightings == 3
    for camera in range(3):
        for frame in [*stay(21, 60, camera=camera), frame_events(99.0, camera=f"till-{camera}")]:
            assert successor.observe(frame) == site.tracker.observe(frame)


async def test_where_the_events_are_is_known_before_the_first_request_for_them(site: Site) -> None:
    await ensure_topics(site.kafka)
    async with started(new_reader(site.kafka), site.kafka) as reader:
        await reader.locate(site.topics.matches, site.topics.sightings, "missing")
        found = [reader.partitions_for_topic(name) for name in (site.topics.matches, site.topics.sightings, "missing")]
    assert found == [{0, 1, 2}, {0, 1, 2}, None]


async def test_a_sighting_of_hours_is_restored_from_its_last_seconds(site: Site) -> None:
    events, [started_event, *_] = site.observe(stay(0, 3_000, every_s=2.5))
    await site.publish(events[-2:])
    successor = await site.successor({0: 3_000})
    [ended] = successor.observe(frame_events(7_600.0, camera="till-0")).sightings
    assert (ended.sighting, ended.started_at) == (started_event.sighting, started_event.started_at)
    assert ended.frames == 3_000
    assert ended.best == started_event.best


async def test_frames_that_will_be_processed_again_are_not_restored(site: Site) -> None:
    events, _ = site.observe(stay(0, 10))
    await site.publish(events)
    successor = await site.successor({0: 6})
    again = [successor.observe(frame) for frame in stay(6, 10)]
    assert [event for one in again for event in one.events] == events[6:]


async def test_a_partition_without_a_committed_offset_starts_empty(site: Site) -> None:
    events, _ = site.observe(stay(0, 10))
    await site.publish(events)
    assert (await site.successor({0: None, 1: 5})).open_sightings == 0


async def test_events_that_were_published_again_behind_later_ones_count_once(site: Site) -> None:
    events, _ = site.observe(stay(0, 10))
    await site.publish([*events, *events[3:8]])
    successor = await site.successor({0: 10})
    last = frame_events(9.0, camera="till-0", offset=10)
    assert successor.observe(last) == site.tracker.observe(last)


async def test_a_first_match_before_the_restart_counts_towards_the_start(site: Site) -> None:
    events, _ = site.observe(stay(0, 1))
    await site.publish(events)
    [started_event] = (await site.successor({0: 1})).observe(stay(1, 2)[0]).sightings
    assert (started_event.kind, started_event.frames) == ("started", 2)


async def test_an_aborted_transaction_is_not_restored(site: Site) -> None:
    events, _ = site.observe(stay(0, 4))
    await ensure_topics(site.kafka)
    async with started(new_producer(site.kafka, transactional_id=site.kafka.topic_prefix), site.kafka) as producer:
        async with producer.transaction():
            for event in events[:1]:
                await producer.send(site.topics.matches, encode(event), partition=0)
        await producer.begin_transaction()
        for event in events[1:]:
            await producer.send_and_wait(site.topics.matches, encode(event), partition=0)
        await producer.abort_transaction()
    successor = await site.successor({0: 4})
    assert successor.open_sightings == 0
    [started_event] = successor.observe(stay(1, 2)[0]).sightings
    assert (started_event.kind, started_event.frames) == ("started", 2)


async def test_a_published_end_by_silence_is_not_repeated(site: Site) -> None:
    events, _ = site.observe(stay(0, 5))
    site.clock.now_s += 10.0
    await site.publish([*events, *site.tracker.end_silent([0])])
    successor = await site.successor({0: 5})
    assert successor.open_sightings == 0
    assert changes(s for frame in stay(5, 7) for s in successor.observe(frame).sightings) == [("started", "milk")]


async def test_unreadable_records_are_skipped(site: Site) -> None:
    events, _ = site.observe(stay(0, 5))
    timeless = encode(events[2]).replace(b'"grabbed_at":"2026', b'"grabbed_at":"long ago, 2026')
    deep, foreign = b'{"a":' + b"[" * 100_000, encode(events[2]).replace(b'"Milk"', b'"\xff"')
    await site.publish([b"{", *events[:2], timeless, b"", deep, foreign, events[3]])
    with capture_logs() as logs:
        successor = await site.successor({0: 5})
    assert successor.open_sightings == 1
    assert [line["offset"] for line in logs if line["event"] == "event_unreadable"] == [0, 3, 4, 5, 6]


async def test_the_next_owner_knows_the_frames_that_were_published_and_committed(site: Site) -> None:
    events, _ = site.observe(stay(0, 5))
    await site.publish(events)
    own = Sightings(site.kafka, SETTINGS, ConsumerMetrics(new_registry()))
    await own.restore({TopicPartition(site.topics.frames, 0): 4}, dict.fromkeys(site.topics.all, 3))
    assert [own.recent_frames.add("till-0", event.frame.id) for event in events] == [False] * 4 + [True]


async def test_a_pause_and_a_slow_consumer_do_not_hide_what_was_before(site: Site) -> None:
    events, _ = site.observe(stay(0, 5))
    await site.publish(events, ago_ms=PAUSE_MS)
    # After the pause another camera's frames, more than one part, that all came within a second.
    others = [
        frame_events(1.0 + number / 1_000, camera="till-2", number=number, offset=5 + number) for number in range(600)
    ]
    await site.publish(site.observe(others)[0])
    successor = await site.successor({0: 605})
    assert successor.open_sightings == 1


async def test_what_was_published_and_not_committed_does_not_hide_what_was_before(site: Site) -> None:
    events, _ = site.observe(stay(0, 5))
    await site.publish(events, ago_ms=PAUSE_MS)
    uncommitted = [
        frame_events(1.0 + number / 10, camera="till-2", number=number, offset=5 + number) for number in range(600)
    ]
    later = SightingTracker(SETTINGS)
    await site.publish([event for frame in uncommitted[:300] for event in later.observe(frame).events], ago_ms=60_000)
    await site.publish([event for frame in uncommitted[300:] for event in later.observe(frame).events])
    assert (await site.successor({0: 5})).open_sightings == 1


@pytest.mark.parametrize("frames", [2, 5])
async def test_events_are_found_in_any_partition_where_the_numbers_of_partitions_differ(
    site: Site, frames: int
) -> None:
    events, _ = site.observe(stay(0, 5))
    await site.publish(events, partition=2, by_key=True)
    counts = {site.topics.frames: frames, site.topics.matches: 3, site.topics.sightings: 3}
    assert (await site.successor({0: 5}, counts)).open_sightings == 1
    assert (await site.successor({1: 5}, counts)).open_sightings == 0


async def test_without_topics_there_is_nothing_to_restore(site: Site) -> None:
    await ensure_topics(site.kafka)
    assert (await site.successor({0: 5, 7: 3}, {site.topics.frames: 12})).open_sightings == 0


async def test_topics_that_cannot_be_read_are_one_clear_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sightings, "_DEADLINE_S", 0.5)
    with pytest.raises(KafkaUnavailableError, match=r"were not read within 0\.5 s"):
        await site.successor({0: 5})
