"""Outboxes against a broker that is killed, frozen, or not there at all: every frame arrives once, or is counted."""

import asyncio
import contextlib
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord

from edge.outbox.dispatcher import Dispatcher
from edge.outbox.outbox import Outbox, State
from edge.outgoing import Outgoing
from framematch.core.frames import Frame, parse_frame
from framematch.core.settings import EdgeSettings, KafkaSettings, SpoolSettings
from framematch.core.timestamps import now_us
from stack.kafka import KafkaServer
from tests.integration.edge_service import new_prefix, read_topic
from tests.support import eventually, go_on, halt

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

CAMERAS = ("till-1", "till-2", "till-3")
FRAME_BYTES = 20_000
LONG_S = 90.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaServer]:
    """A broker of the test's own, which it may kill."""
    server = KafkaServer(tmp_path / "kafka")
    server.folder.mkdir()
    try:
        server.start()
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            go_on(server.pid)
        server.stop()


class Book:
    def __init__(self, camera: str) -> None:
        self.camera = camera
        self.accepted = 0
        self.published_frames = 0
        self.drops: Counter[str] = Counter()

    def published(self, size_bytes: int, seconds: float) -> None:
        assert size_bytes == FRAME_BYTES
        assert seconds >= 0
        self.published_frames += 1

    def dropped(self, stage: str, reason: str, count: int = 1) -> None:
        self.drops[f"{stage}/{reason}"] += count

    @property
    def settled(self) -> bool:
        return self.published_frames + sum(self.drops.values()) == self.accepted


class Edge:
    """A dispatcher with its cameras, which put frames as fast as asked."""

    def __init__(self, broker: str, folder: Path, prefix: str, **spool: float) -> None:
        self.prefix = prefix
        kafka = KafkaSettings(bootstrap_servers=broker, topic_prefix=prefix, partitions=2, request_timeout_ms=2_000)
        settings = EdgeSettings(spool=SpoolSettings(folder=str(folder), **spool), unacknowledged_max=64)
        self.dispatcher = Dispatcher(kafka, settings)
        self.books = {camera: Book(camera) for camera in CAMERAS}
        self.boxes = {camera: self.dispatcher.outbox(camera, book, live=True) for camera, book in self.books.items()}

    async def put(self, count: int) -> None:
        for _ in range(count):
            for camera in CAMERAS:
                await self.put_one(camera)

    async def put_one(self, camera: str) -> None:
        book = self.books[camera]
        frame = Frame(camera, now_us(), book.accepted, grabbed_at_us=now_us())
        book.accepted += 1
        await self.boxes[camera].put(Outgoing(frame, bytes(FRAME_BYTES), asyncio.get_running_loop().time()))

    async def put_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.put(1)
            await asyncio.sleep(0.01)

    async def settled(self) -> None:
        await eventually(
            lambda: all(book.settled for book in self.books.values()) and not self.spooling,
            timeout_s=LONG_S,
            message="all frames published or dropped",
        )

    @property
    def spooling(self) -> list[Outbox]:
        return [box for box in self.boxes.values() if box.state is State.SPOOLING]

    @property
    def direct(self) -> bool:
        """Whether frames go to the broker without a stay on disk, as they do once it is there."""
        return self.dispatcher.connected and not self.spooling

    @property
    def spooled(self) -> int:
        return sum(box.spooled_frames for box in self.boxes.values())


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
    """Frames in the topic, by camera, in order."""
    records: list[ConsumerRecord] = await asyncio.to_thread(read_topic, broker.bootstrap_servers, f"{prefix}.frames")
    frames = defaultdict(list)
    for record in records:
        frame = parse_frame(record.key, record.headers)
        frames[frame.camera].append(frame)
    return frames


async def under_load(edge: Edge, outage_s: float) -> None:
    """Put frames for as long as an outage lasts: it is its length that matters here."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(edge.put_until(stop))
        await asyncio.sleep(outage_s)
        stop.set()


def assert_each_once_in_order(edge: Edge, frames: dict[str, list[Frame]]) -> None:
    for camera, book in edge.books.items():
        assert not book.drops
        assert [frame.sequence for frame in frames[camera]] == list(range(book.accepted))


async def test_a_broker_killed_under_load_costs_no_frame_and_repeats_none(broker: KafkaServer, tmp_path: Path) -> None:
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
    assert not all(replayed)  # those of a slow first connection may be
    assert not list((tmp_path / "spool").rglob("*.sqlite*"))


async def test_a_broker_frozen_for_longer_than_a_request_may_take_repeats_nothing(
    broker: KafkaServer, tmp_path: Path
) -> None:
    prefix = new_prefix()
    async with running(broker.bootstrap_servers, tmp_path / "spool", prefix) as edge:
        await eventually(lambda: edge.direct)
        await under_load(edge, 1.0)
        halt(broker.pid)
        await under_load(edge, 7.0)  # more than three timeouts of a request, and the controller's session
        assert edge.spooled
        assert edge.dispatcher.stalled_s > 1
        go_on(broker.pid)
        await under_load(edge, 2.0)
        await edge.settled()
    assert_each_once_in_order(edge, await arrived(broker, prefix))


async def test_what_a_small_spool_loses_is_counted_exactly_and_is_the_oldest(
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
    for camera, book in edge.books.items():
        sequences = [frame.sequence for frame in frames[camera]]
        assert sequences == sorted(set(sequences))
        assert len(sequences) == book.published_frames
        assert set(book.drops) == {"spool/full"}
        assert len(sequences) + book.drops["spool/full"] == book.accepted
        assert sequences[-1] == book.accepted - 1


async def test_the_edge_starts_without_a_broker_and_publishes_when_one_comes(tmp_path: Path) -> None:
    prefix = new_prefix()
    server = KafkaServer(tmp_path / "kafka")
    server.folder.mkdir()
    try:
        async with running(server.bootstrap_servers, tmp_path / "spool", prefix) as edge:
            await edge.put(10)
            assert (edge.dispatcher.connected, edge.spooled) == (False, 30)
            await asyncio.to_thread(server.start)
            await edge.settled()
        assert_each_once_in_order(edge, await arrived(server, prefix))
    finally:
        server.stop()


async def test_the_end_without_a_broker_leaves_all_on_disk_and_the_next_life_publishes_it(
    broker: KafkaServer, tmp_path: Path
) -> None:
    prefix = new_prefix()
    async with running(broker.bootstrap_servers, tmp_path / "spool", prefix) as first:
        await eventually(lambda: first.dispatcher.connected)
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


async def test_frames_of_a_camera_that_is_not_set_any_more_are_published_too(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    prefix = new_prefix()
    edge = Edge(kafka.bootstrap_servers, tmp_path / "spool", prefix)
    await edge.put(5)  # it never connects: all goes to disk
    await edge.dispatcher.finish(0.1)
    later = Dispatcher(
        KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, partitions=2),
        EdgeSettings(spool=SpoolSettings(folder=str(tmp_path / "spool"))),
    )
    task = asyncio.create_task(later.run())
    try:
        await eventually(lambda: not list((tmp_path / "spool").rglob("*.sqlite")), timeout_s=LONG_S)
    finally:
        await later.finish(5.0)
        await task
        await later.close()
    frames = await arrived(kafka, prefix)
    assert {camera: len(found) for camera, found in frames.items()} == dict.fromkeys(CAMERAS, 5)


def test_after_kill_9_of_the_edge_every_frame_on_disk_arrives_in_order(kafka: KafkaServer, tmp_path: Path) -> None:
    prefix, folder = new_prefix(), tmp_path / "spool"
    nobody = "127.0.0.1:9"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.edge_outbox_life", nobody, str(folder), prefix],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(40)]
        process.kill()
        said += process.stdout.readlines()
    put = said.count("put\n")  # the log is there too
    assert put > 20

    async def next_life() -> None:
        async with running(kafka.bootstrap_servers, folder, prefix) as edge:
            await eventually(lambda: not list(folder.rglob("*.sqlite")), timeout_s=LONG_S)
            await edge.dispatcher.drained()

    asyncio.run(next_life())
    frames = asyncio.run(arrived(kafka, prefix))
    for camera in CAMERAS:
        sequences = [frame.sequence for frame in frames[camera]]
        assert sequences == list(range(len(sequences)))
        assert len(sequences) >= put
