"""Subscribing to match events through a real Kafka."""

import asyncio
import math
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import OffsetAndMetadata
from structlog.testing import capture_logs

from framematch import MatchEvent, subscribe, subscribe_sightings
from framematch.core import record_reader
from framematch.core.errors import KafkaUnavailableError
from framematch.core.events import encode
from framematch.core.kafka.clients import client_options, new_producer, started
from framematch.core.kafka.offsets import StartAt
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.stack.kafka import KafkaServer
from tests.sample_events import match_event, sighting_event
from tests.support import eventually

pytestmark = pytest.mark.integration

# The packages that an installation without extras lacks.
EXTRAS = ("av", "confluent_kafka", "cv2", "faiss", "numpy", "PIL", "pymongo", "tokenizers", "tritonclient")


class Site:
    """A topic prefix for the test, and its published events."""

    def __init__(self, kafka: KafkaServer) -> None:
        self.prefix = f"subscribe-{uuid.uuid4().hex[:8]}"
        self.settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=self.prefix, partitions=2)
        self.topics = Topics(self.prefix)

    async def publish(self, *events: MatchEvent) -> None:
        await self.send(*((event.frame.camera.encode(), encode(event)) for event in events))

    async def send(self, *records: tuple[bytes | None, bytes | None]) -> None:
        await ensure_topics(self.settings)
        async with started(new_producer(self.settings), self.settings) as producer:
            for key, value in records:
                await producer.send_and_wait(self.topics.matches, value, key=key)

    async def transact(self, *events: MatchEvent, commit: bool) -> None:
        """Publish in one transaction, which is committed or aborted."""
        producer = new_producer(self.settings, transactional_id=f"{self.prefix}-{commit}")
        async with started(producer, self.settings):
            await producer.begin_transaction()
            for event in events:
                await producer.send_and_wait(self.topics.matches, encode(event), key=event.frame.camera.encode())
            await (producer.commit_transaction() if commit else producer.abort_transaction())

    async def committed(self, group_id: str) -> int:
        """Events that the group has handled, by its committed offsets."""
        return sum((await self.committed_offsets(group_id)).values())

    async def committed_offsets(self, group_id: str) -> dict[TopicPartition, int]:
        async with started(AIOKafkaAdminClient(**client_options(self.settings)), self.settings) as admin:
            offsets: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(group_id)
        return {partition: max(0, found.offset) for partition, found in offsets.items()}


@pytest.fixture
def site(kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Address and prefix are in the environment, for subscribers."""
    site = Site(kafka)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("FRAMEMATCH_KAFKA__TOPIC_PREFIX", site.prefix)
    return site


async def first(count: int, events: AsyncIterator[MatchEvent]) -> list[int]:
    """The sequence numbers of the first events; the last of them is not handled yet."""
    numbers: list[int] = []
    async for event in events:
        numbers.append(event.frame.sequence)
        if len(numbers) == count:
            break
    return numbers


async def test_events_are_read_in_the_order_of_the_camera(site: Site) -> None:
    sent = [match_event(number) for number in range(20)]
    await site.publish(*sent)
    async with subscribe(start="earliest") as events:
        assert [await anext(events) for _ in sent] == sent


async def test_only_selected_events_are_read(site: Site) -> None:
    await site.publish(
        match_event(1, camera="till-2"),
        match_event(2, decision="unknown"),
        match_event(3, product="bread"),
        match_event(4),
    )
    asked = subscribe(cameras="till-1", products=["milk"], decisions="match", start="earliest")
    async with asked as events:
        assert await first(1, events) == [4]


async def test_by_default_only_new_events_are_read(site: Site) -> None:
    await site.publish(match_event(1), match_event(1, camera="till-2"))
    async with subscribe() as events:
        await site.publish(match_event(2), match_event(2, camera="till-2"))
        assert await first(2, events) == [2, 2]


async def test_a_subscriber_that_waits_for_the_topic_misses_nothing(site: Site) -> None:
    async def read() -> list[int]:
        async with subscribe() as events:
            return await first(2, events)

    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read())
            await eventually(lambda: [log for log in logs if log["event"] == "topic_awaited"])
            await site.publish(match_event(1), match_event(2))
    assert reading.result() == [1, 2]


async def test_a_group_continues_with_the_event_that_was_not_handled(site: Site) -> None:
    await site.publish(*(match_event(number) for number in range(5)))

    async def fail_at(number: int) -> None:
        async with subscribe(group_id=site.prefix, start="earliest") as events:
            async for event in events:
                _ = 1 / (number - event.frame.sequence)

    with pytest.raises(ZeroDivisionError):
        await fail_at(3)
    async with subscribe(group_id=site.prefix) as events:
        assert await first(2, events) == [3, 4]


@pytest.mark.parametrize("start", ["earliest", "latest"])
async def test_events_deleted_before_a_group_has_read_them_are_reported(site: Site, start: StartAt) -> None:
    async def delete_below(offset: int) -> None:
        """As retention does in its time."""
        async with started(AIOKafkaAdminClient(**client_options(site.settings)), site.settings) as admin:
            await admin.delete_records({place: RecordsToDelete(before_offset=offset)})

    await site.publish(*(match_event(number) for number in range(3)))
    async with subscribe(group_id=site.prefix, start="earliest") as events:
        assert await first(2, events) == [0, 1]
    [place] = [one for one, offset in (await site.committed_offsets(site.prefix)).items() if offset]
    await site.publish(*(match_event(number) for number in range(3, 6)))
    await delete_below(4)
    with capture_logs() as logs:
        async with subscribe(group_id=site.prefix, start=start) as events:
            assert await first(1, events) == [4]
            await site.publish(*(match_event(number) for number in range(6, 20)))
            await delete_below(18)
            seen = await first(2, events)
            while seen[-1] < 19:  # events that were fetched before they were deleted
                seen += await first(1, events)
    jumps = [line for line in logs if line["event"] == "offsets_jumped"]
    assert seen[-2:] == [18, 19]
    assert (jumps[0]["topic"], jumps[0]["partition"]) == (place.topic, place.partition)
    found = [(line["from_offset"], line["to_offset"], line["events_lost"], line["reason"]) for line in jumps]
    assert found[0] == (1, 4, 3, "retention")
    assert all(end == 18 and lost == 18 - begin for begin, end, lost, _ in found[1:])


async def test_handled_events_are_committed_while_waiting_for_more(site: Site) -> None:
    await site.publish(match_event(0), match_event(0, camera="till-2"), match_event(1, decision="unknown"))

    async def read() -> None:
        async with subscribe(group_id=site.prefix, start="earliest", decisions="match") as events:
            async for _ in events:
                pass

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read())

        async def all_committed() -> bool:
            return await site.committed(site.prefix) == 3

        await eventually(all_committed)
        reading.cancel()


async def test_members_of_a_group_share_the_events_and_one_takes_over_from_another(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_reader, "_COMMIT_INTERVAL_S", 600.0)  # so that the rebalance itself has to commit
    seen: list[tuple[str, int]] = []
    cameras = [f"till-{number}" for number in range(8)]  # over both partitions

    async def read(*, leaves_after: float) -> None:
        async with subscribe(group_id=site.prefix, start="earliest") as events:
            async for event in events:
                seen.append((event.frame.camera, event.frame.sequence))
                if event.frame.sequence > leaves_after:
                    return

    async with asyncio.TaskGroup() as group:
        staying = group.create_task(read(leaves_after=math.inf))
        leaving = group.create_task(read(leaves_after=0))
        published: list[MatchEvent] = []
        while not leaving.done():  # it may join the group late
            fresh = [match_event(len(published) // len(cameras), camera=camera) for camera in cameras]
            await site.publish(*fresh)
            published.extend(fresh)
            await eventually(lambda: len(set(seen)) == len(published))
        staying.cancel()
    assert len(published) >= 2 * len(cameras)
    # Not the whole topic: at most the newest event of each camera, while the group rebalances.
    assert len(seen) <= len(published) + len(cameras), "only events of the moment of a rebalance come again"


async def test_an_aborted_transaction_is_not_seen(site: Site) -> None:
    await site.publish(match_event(1))
    await site.transact(match_event(2), match_event(3), commit=False)
    await site.transact(match_event(4), commit=True)
    await site.publish(match_event(5))
    async with subscribe(start="earliest") as events:
        assert await first(3, events) == [1, 4, 5]


async def test_an_invalid_event_is_logged_and_skipped(site: Site) -> None:
    await site.send((b"till-1", b"no json"), (b"till-1", None), (b"till-1", b"{}"))
    await site.publish(match_event(7))
    with capture_logs() as logs:
        async with subscribe(start="earliest", group_id=site.prefix) as events:
            assert await first(1, events) == [7]
    assert [log["event"] for log in logs] == ["event_unreadable"] * 3


async def test_sightings_can_be_subscribed_to(site: Site) -> None:
    came = sighting_event()
    await ensure_topics(site.settings)
    async with started(new_producer(site.settings), site.settings) as producer:
        await producer.send_and_wait(site.topics.sightings, encode(came), key=b"till-1")
    async with subscribe_sightings(start="earliest") as sightings:
        assert await anext(sightings) == came


async def test_an_address_argument_overrides_the_settings(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    address = str(site.settings.bootstrap_servers)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("FRAMEMATCH_KAFKA__TOPIC_PREFIX", "other")
    await site.publish(match_event(1))
    async with subscribe(bootstrap_servers=address, topic_prefix=site.prefix, start="earliest") as events:
        assert await first(1, events) == [1]


async def test_an_outage_of_the_broker_loses_nothing(breakable_kafka: KafkaServer) -> None:
    site = Site(breakable_kafka)
    address = str(site.settings.bootstrap_servers)
    await site.publish(match_event(1))
    async with subscribe(
        bootstrap_servers=address, topic_prefix=site.prefix, group_id=site.prefix, start="earliest"
    ) as events:
        seen = [(await anext(events)).frame.sequence]
        breakable_kafka.kill()
        reading = asyncio.ensure_future(first(1, events))
        await asyncio.to_thread(breakable_kafka.start)
        await site.publish(match_event(2))
        seen += await asyncio.wait_for(reading, 60)
    assert seen == [1, 2]


async def test_without_a_broker_it_is_a_clear_error(dead_address: str) -> None:
    with pytest.raises(KafkaUnavailableError, match="Kafka does not answer"):
        async with subscribe(bootstrap_servers=dead_address):
            pass


def test_subscribing_needs_only_the_base_dependencies_and_loads_them_on_use() -> None:
    code = f"""
import sys
import framematch
assert "aiokafka" not in sys.modules
sys.modules.update(dict.fromkeys({EXTRAS!r}))
from framematch import MatchEvent, subscribe
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
