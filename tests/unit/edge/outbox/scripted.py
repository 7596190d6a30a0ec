"""A producer that follows a script, and all that an outbox needs, without a server or a second thread."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.errors import OutOfOrderSequenceNumber

from edge.outbox.connection import Acknowledgement
from edge.outbox.drop_log import DropLog
from edge.outbox.outbox import Outbox
from edge.outbox.spool import Spool
from edge.outbox.way import Way
from edge.outbox.window import Window
from edge.outgoing import Outgoing
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.frames import Frame, parse_frame
from framematch.core.kafka.records import ProducerRecord

Result = TypeVar("Result")
TURNS = 25
"""Of the event loop, after which nothing moves any more that does not wait for the script."""


class AtOnce(Executor):
    """Runs what is submitted in the calling thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # it is the caller's, as with a real executor
            future.set_exception(error)
        return future


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s

    def now_us(self) -> int:
        return int(self.now_s * 1_000_000)


@dataclass
class ScriptedSender:
    """One partition of an idempotent producer: after an error, what is queued fails, until `renew`."""

    connected_event: asyncio.Event = field(default_factory=asyncio.Event)
    queue: list[tuple[Frame, Acknowledgement, bool]] = field(default_factory=list)
    written: list[Frame] = field(default_factory=list)
    sent: list[Frame] = field(default_factory=list)
    refuses: Exception | None = None

    @property
    def connected(self) -> bool:
        return self.connected_event.is_set()

    async def wait_connected(self) -> None:
        await self.connected_event.wait()

    async def send(self, record: ProducerRecord) -> Acknowledgement:
        assert record.topic == "p.frames"
        return self._queue(record, alone=False)

    async def send_alone(self, record: ProducerRecord) -> Acknowledgement:
        assert record.topic == "p.frames"
        return self._queue(record, alone=True)

    def _queue(self, record: ProducerRecord, *, alone: bool) -> Acknowledgement:
        if not self.connected:
            raise KafkaUnavailableError("away")
        if self.refuses is not None:
            raise self.refuses
        frame = parse_frame(record.key, record.headers)
        future: Acknowledgement = asyncio.get_running_loop().create_future()
        self.queue.append((frame, future, alone))
        self.sent.append(frame)
        return future

    def acknowledge(self, count: int = 1_000_000) -> None:
        for frame, future, _ in self.queue[:count]:
            self.written.append(frame)
            if not future.done():
                future.set_result(None)
        del self.queue[:count]

    def fail(self, error: Exception, count: int = 1) -> None:
        """The first `count` fail with `error`, and all behind them because numbers are missing then."""
        for number, (_, future, _) in enumerate(self.queue):
            if not future.done():
                future.set_exception(error if number < count else OutOfOrderSequenceNumber())
        self.queue.clear()
        self.connected_event.clear()

    def renew(self) -> None:
        self.connected_event.set()


class Book:
    """An account that counts."""

    def __init__(self, camera: str = "till-1") -> None:
        self.camera = camera
        self.published_frames = 0
        self.drops: Counter[tuple[str, str]] = Counter()

    def published(self, size_bytes: int, seconds: float) -> None:
        assert size_bytes > 0
        assert seconds >= 0
        self.published_frames += 1

    def dropped(self, stage: str, reason: str, count: int = 1) -> None:
        self.drops[stage, reason] += count


@dataclass
class Bench:
    """One camera's outbox and what stands around it. `max_frames` on disk; frames have 100 bytes."""

    folder: Path
    live: bool = True
    spool: bool = True
    max_frames: int = 1_000
    max_age_s: float = 3_600.0
    window: int = 8
    clock: Clock = field(default_factory=Clock)
    book: Book = field(default_factory=Book)
    sequence: int = 0

    def start(self) -> "Bench":
        self.sender = ScriptedSender()
        self.sender.renew()
        self.way = Way(
            sender=self.sender,
            topic="p.frames",
            window=Window(self.window, 1_000_000),
            executor=AtOnce(),
            drops=DropLog(),
            max_message_bytes=1_000,
            after_s=1.0,
            clock=self.clock,
            backoff=lambda: Backoff(0.0, 0.0),
        )
        self.path = self.folder / "till-1.sqlite"
        self.disk = Spool(
            self.path, max_bytes=100 * self.max_frames, max_age_s=self.max_age_s, clock_us=self.clock.now_us
        )
        self.outbox = Outbox("till-1", self.book, self.disk if self.spool else None, self.way, live=self.live)
        self.running = asyncio.get_running_loop().create_task(self.outbox.run())
        return self

    async def put(self, count: int = 1, size: int = 100) -> None:
        for _ in range(count):
            await self.outbox.put(self.next_frame(size))

    def next_frame(self, size: int = 100) -> Outgoing:
        self.sequence += 1
        frame = Frame("till-1", self.clock.now_us(), self.sequence, grabbed_at_us=self.clock.now_us())
        return Outgoing(frame, self.sequence.to_bytes(4, "big") + b"x" * (size - 4), self.clock())

    async def turn(self) -> None:
        """Let everything happen that does not wait for the script."""
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def stall(self) -> None:
        """Kafka says nothing for longer than `after_s`."""
        self.clock.now_s += 1.5
        self.outbox.check()
        await self.turn()

    async def end(self) -> int:
        """Stop for good; the frames that stay on disk."""
        await self.kill()
        return await self.outbox.close()

    async def kill(self) -> None:
        """Stop as SIGKILL does, but for the file, which the system would close."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    def rows(self) -> int:
        """Frames in the file, which nobody has open."""
        if not self.path.exists():
            return 0
        with closing(sqlite3.connect(self.path)) as file:
            count: int = file.execute("SELECT count(*) FROM frames").fetchone()[0]
        return count

    @property
    def written(self) -> list[int]:
        return [frame.sequence for frame in self.sender.written]

    @property
    def accounted(self) -> int:
        """Published, dropped, in memory, on disk."""
        return (
            self.book.published_frames
            + sum(self.book.drops.values())
            + self.outbox.unacknowledged
            + self.outbox.spooled_frames
        )
