"""Outboxes while their broker is killed, frozen, or does not run: every frame arrives once, or is counted."""

import asyncio
import contextlib
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord

from edge.outbox.dispatcher import Dispatcher
from edge.outbox.outbox import Outbox, State
from edge.sinks import Outgoing
from framematch.core.frames import Frame, parse_frame
from framematch.core.settings import EdgeSettings, KafkaSettings, SpoolSettings
from framematch.core.timestamps import now_us
from framematch.stack.kafka import KafkaServer
from tests.integration.edge_service import new_prefix, read_topic
from tests.support import eventually, freeze, resume

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

CAMERAS = ("till-1", "till-2", "till-3")
FRAME_BYTES = 20_000
LONG_S = 90.0


@pytest.fixture
def broker(breakable_kafka: KafkaServer) -> KafkaServer:
    return breakable_kafka


class CountingStats:
    def __init__(self, camera: str) -> None:
        self.camera = camera
        self.accepted = 0
        self.found_frames = 0
        self.published_frames = 0
        self.drops: Counter[str] = Counter()

    def published(self, size_bytes: int, seconds: float) -> None:
        assert size_bytes == FRAME_BYTES
        assert seconds >= 0
        self.published_frames += 1

    def dropped(self, stage: str, reason: str, count: int = 1) -> None:
        self.drops[f"{stage}/{reason}"] += count

    def found(self, count: int) -> None:
        self.found_frames += count

    @property
    def complete(self) -> bool:
        return self.published_frames + sum(self.drops.values()) == self.accepted


class Edge:
    """A dispatcher and the cameras of a test."""

    def __init__(self, broker: str, folder: Path, prefix: str, **spool: float) -> None:
        self.prefix = prefix
        kafka = KafkaSettings(bootstrap_servers=broker, topic_prefix=prefix, partitions=2, request_timeout_ms=2_000)
        settings = EdgeSettings(spool=SpoolSettings(folder=str(folder), **spool), unacknowledged_max=64)
        self.dispatcher = Dispatcher(kafka, settings)
        self.stats = {camera: CountingStats(camera) for camera in CAMERAS}
        outbox = self.dispatcher.outbox
        self.outboxes = {camera: outbox(camera, stats, live=True) for camera, stats in self.stats.items()}

    async def put(self, count: int) -> None:
        for _ in range(count):
            for camera in CAMERAS:
                await self.put_one(camera)

    async def put_one(self, camera: str) -> None:
        stats = self.stats[camera]
        frame = Frame(camera, now_us(), stats.accepted, grabbed_at_us=now_us())
        stats.accepted += 1
        await self.outboxes[camera].put(Outgoing(frame, bytes(FRAME_BYTES), asyncio.get_running_loop().time()))

    async def put_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.put(1)
            await asyncio.sleep(0.01)

    async def settled(self) -> None:
        await eventually(
            lambda: all(stats.complete for stats in self.stats.values()) and not self.spooling,
            timeout_s=LONG_S,
            message="all frames published or dropped",
        )

    @property
    def spooling(self) -> list[Outbox]:
        return [outbox for outbox in self.outboxes.values() if outbox.state is State.SPOOLING]

    @property
    def direct(self) -> bool:
        """Whether frames go to the broker without being spooled."""
        return self.dispatcher.producer.connected and not self.spooling

    @property
    def spooled(self) -> int:
        return sum(outbox.spooled_frames for outbox in self.outboxes.values())


@contextlib.asynccontextmanager
async def running(broker: str, folder: Path, prefix: str, **spool: float) -> AsyncIterator[Edge]:
    edge = Edge(broker, folder, prefix, **spool)
    task = asyncio.create_task(edge.dispatcher.run())
    try:
        yield edge
    finally:
        await edge.dispatcher.finish(2.0)
        await task
        await edge.dispatcher.close()


async def arrived(broker: KafkaServer, prefix: str) -> dict[str, list[Frame]]:
    """Frames in the topic, in order, by camera."""
    records: list[ConsumerRecord] = await asyncio.to_thread(read_topic, broker.bootstrap_servers, f"{prefix}.frames")
    frames = defaultdict(list)
    for record in records:
        frame = parse_frame(record.key, record.headers)
        frames[frame.camera].append(frame)
    return frames


async def under_load(edge: Edge, outage_s: float) -> None:
    """Put frames while an outage lasts. Its length matters here."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(edge.put_until(stop))
        await asyncio.sleep(outage_s)
        stop.set()


def assert_each_once_in_order(edge: Edge, frames: dict[str, list[Frame]]) -> None:
    for camera, stats in edge.stats.items():
        assert not stats.drops
        assert [frame.sequence for frame in frames[camera]] == list(range(stats.accepted))


async def test_when_a_broker_is_killed_under_load_every_frame_arrives_once(broker: KafkaServer, tmp_path: Path) -> None:
    prefix = new_prefix()
    async with running(broker.bootstrap_servers, tmp_path / "spool", prefix) as edge:
        await eventually(lambda: edge.direct)
        for _ in range(2):
            await under_load(edge, 1.0)
            await asyncio.to_thread(broker.kill)
            await under_load(edge, 4.0)
            assert edge.spooled
            await asyncio.to_thread(broker.start)
            await under_load(edge, 1.0)
            await edge.settled()
    frames = await arrived(broker, prefix)
    assert_each_once_in_order(edge, frames)
    replayed = [frame.replayed for frame in frames["till-1"]]
    assert any(replayed)
    assert not all(replayed)  # while the first connection is slow, frames are spooled
    assert not list((tmp_path / "spool").rglob("*.sqlite*"))


async def test_when_a_broker_is_frozen_for_several_request_timeouts_every_frame_arrives_once(
    broker: KafkaServer, tmp_path: Path
) -> None:
    prefix = new_prefix()
    async with running(broker.bootstrap_servers, tmp_path / "spool", prefix) as edge:
        await eventually(lambda: edge.direct)
        await under_load(edge, 1.0)
        freeze(broker.pid)
        await under_load(edge, 7.0)  # more than three timeouts of a request, and the controller's session
        assert edge.spooled
        assert edge.dispatcher.stalled_s > 1
        resume(broker.pid)
        await under_load(edge, 2.0)
        await edge.settled()
    assert_each_once_in_order(edge, await arrived(broker, prefix))


async def test_a_small_spool_drops_the_oldest_frames_and_counts_them_exactly(
    broker: KafkaServer, tmp_path: Path
) -> None:
    prefix = new_prefix()
    async with running(broker.bootstrap_servers, tmp_path / "spool", prefix, max_mb=1.0) as edge:
        await eventually(lambda: edge.direct)
        await edge.put(20)
        await asyncio.to_thread(broker.kill)
        await edge.put(200)
        await asyncio.to_thread(broker.start)
        await edge.settled()
    frames = await arrived(broker, prefix)
    for camera, stats in edge.stats.items():
        sequences = [frame.sequence for frame in frames[camera]]
        assert sequences == sorted(set(sequences))
        assert len(sequences) == stats.published_frames
        assert set(stats.drops) == {"spool/full"}
        assert len(sequences) + stats.drops["spool/full"] == stats.accepted
        assert sequences[-1] == stats.accepted - 1


async def test_started_without_a_broker_it_publishes_once_one_runs(broker: KafkaServer, tmp_path: Path) -> None:
    prefix = new_prefix()
    broker.kill()
    async with running(broker.bootstrap_servers, tmp_path / "spool", prefix) as edge:
        await edge.put(10)
        assert (edge.dispatcher.producer.connected, edge.spooled) == (False, 30)
        await asyncio.to_thread(broker.start)
        await edge.settled()
    assert_each_once_in_order(edge, await arrived(broker, prefix))


async def test_stopped_without_a_broker_it_leaves_frames_on_disk_which_the_next_run_publishes(
    broker: KafkaServer, tmp_path: Path
) -> None:
    prefix = new_prefix()
    async with running(broker.bootstrap_servers, tmp_path / "spool", prefix) as first:
        await eventually(lambda: first.dispatcher.producer.connected)
        await first.put(3)
        await first.settled()
        await asyncio.to_thread(broker.kill)
        await first.put(10)
    await asyncio.to_thread(broker.start)
    async with running(broker.bootstrap_servers, tmp_path / "spool", prefix) as second:
        await eventually(lambda: not list((tmp_path / "spool").rglob("*.sqlite")), timeout_s=LONG_S)
        await second.dispatcher.drained()
    frames = await arrived(broker, prefix)
    for camera in CAMERAS:
        assert [frame.sequence for frame in frames[camera]] == list(range(13))
        assert frames[camera][-1].replayed


async def test_spooled_frames_of_a_removed_camera_are_published_and_its_outbox_is_removed(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    prefix = new_prefix()
    edge = Edge(kafka.bootstrap_servers, tmp_path / "spool", prefix)
    await edge.put(5)  # it is not connected: all are spooled
    await edge.dispatcher.finish(0.1)
    later = Dispatcher(
        KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, partitions=2),
        EdgeSettings(spool=SpoolSettings(folder=str(tmp_path / "spool"))),
    )
    task = asyncio.create_task(later.run())
    try:
        await eventually(lambda: not list((tmp_path / "spool").rglob("*.sqlite")), timeout_s=LONG_S)
        await eventually(lambda: not later.outboxes)
    finally:
        await later.finish(5.0)
        await task
        await later.close()
    frames = await arrived(kafka, prefix)
    assert {camera: len(found) for camera, found in frames.items()} == dict.fromkeys(CAMERAS, 5)


def test_after_kill_9_of_the_edge_every_frame_on_disk_arrives_in_order(kafka: KafkaServer, tmp_path: Path) -> None:
    prefix, folder = new_prefix(), tmp_path / "spool"
    unreachable = "127.0.0.1:9"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.edge_outbox_life", unreachable, str(folder), prefix],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(40)]
        process.kill()
        lines += process.stdout.readlines()
    put = lines.count("put\n")  # the output has log lines too
    assert put > 20

    async def next_run() -> None:
        async with running(kafka.bootstrap_servers, folder, prefix) as edge:
            await eventually(lambda: not list(folder.rglob("*.sqlite")), timeout_s=LONG_S)
            await edge.dispatcher.drained()

    asyncio.run(next_run())
    frames = asyncio.run(arrived(kafka, prefix))
    for camera in CAMERAS:
        sequences = [frame.sequence for frame in frames[camera]]
        assert sequences == list(range(len(sequences)))
        assert len(sequences) >= put
