"""A producer that follows a script, and what else an outbox needs, without a server or a second thread."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.errors import OutOfOrderSequenceNumber

from edge.outbox.context import READ_SHARE, REPLAY_SHARE, DropLog, OutboxContext
from edge.outbox.outbox import Outbox
from edge.outbox.pending import Window
from edge.outbox.producer import Acknowledgement
from edge.outbox.recovery import Recovery
from edge.outbox.spool import Spool
from edge.sinks import Outgoing
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.frames import Frame, parse_frame
from framematch.core.kafka.records import ProducerRecord

Result = TypeVar("Result")
TURNS = 25
"""Iterations of the event loop, after which everything waits for the script."""


class ImmediateExecutor(Executor):
    """Runs calls in the calling thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # the future has it, as with a real executor
            future.set_exception(error)
        return future


class ManualExecutor(ImmediateExecutor):
    """Keeps calls until `run_all`, or runs them at once when `immediate`."""

    def __init__(self) -> None:
        self.immediate = False
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.immediate:
            return super().submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        self._waiting.append((future, partial(fn, *args, **kwargs)))
        return future

    def run_all(self) -> None:
        for future, call in self._waiting:
            future.set_result(call())
        self._waiting.clear()


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s

    def now_us(self) -> int:
        return int(self.now_s * 1_000_000)


@dataclass
class ScriptedProducer:
    """One partition of an idempotent producer: after an error everything queued fails, until `renew`."""

    connected_event: asyncio.Event = field(default_factory=asyncio.Event)
    queue: list[tuple[Frame, Acknowledgement, bool]] = field(default_factory=list)
    written: list[Frame] = field(default_factory=list)
    sent: list[Frame] = field(default_factory=list)
    records: list[ProducerRecord] = field(default_factory=list)

    @property
    def connected(self) -> bool:
        return self.connected_event.is_set()

    async def wait_connected(self) -> None:
        await self.connected_event.wait()

    async def send(self, record: ProducerRecord) -> Acknowledgement:
        return self._queue(record, isolated=False)

    async def send_isolated(self, record: ProducerRecord) -> Acknowledgement:
        return self._queue(record, isolated=True)

    def _queue(self, record: ProducerRecord, *, isolated: bool) -> Acknowledgement:
        assert record.topic == "p.frames"
        if not self.connected:
            raise KafkaUnavailableError("not connected")
        self.records.append(record)
        frame = parse_frame(record.key, record.headers)
        future: Acknowledgement = asyncio.get_running_loop().create_future()
        self.queue.append((frame, future, isolated))
        self.sent.append(frame)
        return future

    def acknowledge(self, count: int = 1_000_000) -> None:
        for frame, future, _ in self.queue[:count]:
            self.written.append(frame)
            if not future.done():
                future.set_result(None)
        del self.queue[:count]

    def fail(self, error: Exception, count: int = 1) -> None:
        """The first `count` fail with `error`, and all behind them because their sequence numbers are out of order."""
        for number, (_, future, _) in enumerate(self.queue):
            if not future.done():
                future.set_exception(error if number < count else OutOfOrderSequenceNumber())
        self.queue.clear()
        self.connected_event.clear()

    def renew(self) -> None:
        self.connected_event.set()


class FakeStats:
    def __init__(self, camera: str = "till-1") -> None:
        self.camera = camera
        self.published_frames = 0
        self.found_frames = 0
        self.drops: Counter[tuple[str, str]] = Counter()

    def published(self, size_bytes: int, seconds: float) -> None:
        assert size_bytes > 0
        assert seconds >= 0
        self.published_frames += 1

    def dropped(self, stage: str, reason: str, count: int = 1) -> None:
        self.drops[stage, reason] += count

    def found(self, count: int) -> None:
        self.found_frames += count


@dataclass
class Bench:
    """One camera's outbox with all that it needs. `max_frames`: what the spool may hold; a frame has 100 bytes."""

    folder: Path
    live: bool = True
    with_spool: bool = True
    max_frames: int = 1_000
    max_age_s: float = 3_600.0
    window: int = 8
    after_s: float = 1.0
    keep_file_s: float = 0.0
    clock: Clock = field(default_factory=Clock)
    stats: FakeStats = field(default_factory=FakeStats)
    sequence: int = 0
    executor: Executor = field(default_factory=ImmediateExecutor)
    each_turn: Callable[[], None] = lambda: None

    def start(self) -> "Bench":
        self.first_sequence = self.sequence
        self.producer = ScriptedProducer()
        self.producer.renew()
        window = Window(self.window, 1_000_000)
        replay_window = window.part(REPLAY_SHARE)
        self.context = OutboxContext(
            producer=self.producer,
            topic="p.frames",
            window=window,
            replay_window=replay_window,
            read_window=replay_window.part(READ_SHARE),
            executor=self.executor,
            drops=DropLog(),
            max_message_bytes=1_000,
            after_s=self.after_s,
            keep_file_s=self.keep_file_s,
            clock=self.clock,
            backoff=lambda: Backoff(0.0, 0.0),
        )
        self.path = self.folder / "till-1.sqlite"
        self.spool_file = Spool(
            self.path, max_bytes=100 * self.max_frames, max_age_s=self.max_age_s, clock_us=self.clock.now_us
        )
        self.outbox = Outbox(
            "till-1", self.stats, self.spool_file if self.with_spool else None, self.context, live=self.live
        )
        self.recovery = asyncio.get_running_loop().create_task(Recovery(self.outbox).run())
        return self

    async def put(self, count: int = 1, size: int = 100) -> None:
        for _ in range(count):
            await self.outbox.put(self.next_frame(size))

    def next_frame(self, size: int = 100) -> Outgoing:
        self.sequence += 1
        frame = Frame("till-1", self.clock.now_us(), self.sequence, grabbed_at_us=self.clock.now_us())
        return Outgoing(frame, self.sequence.to_bytes(4, "big") + b"x" * (size - 4), self.clock())

    async def turn(self) -> None:
        """Run the event loop until everything waits for the script."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
            self.each_turn()

    async def stall(self) -> None:
        """Kafka acknowledges nothing for longer than `after_s`."""
        self.clock.now_s += 1.5
        self.outbox.check()
        await self.turn()

    async def end(self) -> int:
        """Stop the outbox; returns the number of frames that stay on disk."""
        await self.kill()
        return await self.outbox.close()

    async def kill(self) -> None:
        """Stop as SIGKILL does, but without closing the file."""
        self.recovery.cancel()
        await asyncio.gather(self.recovery, return_exceptions=True)

    def rows(self) -> int:
        """Frames in the file, which must be closed."""
        if not self.path.exists():
            return 0
        with closing(sqlite3.connect(self.path)) as file:
            count: int = file.execute("SELECT count(*) FROM frames").fetchone()[0]
        return count

    @property
    def written(self) -> list[int]:
        return [frame.sequence for frame in self.producer.written]

    @property
    def in_memory(self) -> int:
        """What the counts say is in memory, with the frames that `put` has not taken yet."""
        counted = self.stats.published_frames + sum(self.stats.drops.values()) + self.outbox.spooled_frames
        return self.sequence - self.first_sequence + self.stats.found_frames - counted

    @property
    def known_frames(self) -> int:
        """Frames published, dropped, in memory and on disk."""
        return (
            self.stats.published_frames
            + sum(self.stats.drops.values())
            + len(self.outbox.pending)
            + self.outbox.spooled_frames
        )
