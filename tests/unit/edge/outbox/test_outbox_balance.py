"""Whatever Kafka does, every frame that an outbox took is published, dropped, in memory or on disk; order is kept."""

import asyncio
import tempfile
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiokafka.errors import MessageSizeTooLargeError, NotLeaderForPartitionError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.edge.outbox.scripted import Bench, FakeStats


class OutboxRuns(RuleBasedStateMachine):
    """One camera over several runs of the edge, with a small window and a small spool."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.spooled_before = 0  # by earlier runs
        self.sequence = 0

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    @initialize(max_frames=st.integers(1, 12), window=st.integers(1, 12), live=st.booleans(), spool=st.booleans())
    def first_run(self, max_frames: int, window: int, live: bool, spool: bool) -> None:
        self.window = window
        bench = partial(Bench, max_frames=max_frames, max_age_s=30.0)
        self.new_bench = partial(bench, window=window, live=live, with_spool=spool)
        self.start(spooled=0)

    def start(self, *, spooled: int) -> None:
        self.spooled_before = spooled
        self.stats = FakeStats()
        self.putting: list[asyncio.Task[None]] = []

        async def start() -> None:
            folder = Path(self.folder.name)
            self.bench = self.new_bench(folder, stats=self.stats, sequence=self.sequence)
            self.bench.clock.now_s += self.sequence
            self.bench.each_turn = self.counts_balance
            self.bench.start()
            await self.bench.turn()

        self.run(start())

    @precondition(lambda self: not any(not task.done() for task in self.putting))
    @rule(count=st.integers(1, 5))
    def put(self, count: int) -> None:
        async def put() -> None:
            for _ in range(count):
                frame = self.bench.next_frame()
                task = asyncio.create_task(self.bench.outbox.put(frame))
                await self.bench.turn()
                self.putting = [task]
                if not task.done():
                    break  # the source is not live, and waits

        self.run(put())

    @rule(count=st.integers(1, 6))
    def acknowledge(self, count: int) -> None:
        self.bench.producer.acknowledge(count)
        self.run(self.bench.turn())

    @rule(count=st.integers(1, 3), too_large=st.booleans())
    def fail(self, count: int, too_large: bool) -> None:
        self.bench.producer.fail(MessageSizeTooLargeError() if too_large else NotLeaderForPartitionError(), count)
        self.run(self.bench.turn())

    @rule()
    def renew(self) -> None:
        self.bench.producer.renew()
        self.run(self.bench.turn())

    @rule()
    def stall(self) -> None:
        self.run(self.bench.stall())

    @rule(seconds=st.integers(1, 40))
    def upkeep(self, seconds: int) -> None:
        self.bench.clock.now_s += seconds
        self.run(self.bench.outbox.upkeep())
        self.run(self.bench.turn())

    @rule()
    def close_and_start(self) -> None:
        self.cancel_putting()
        left = self.run(self.bench.end())
        assert self.stats.published_frames + sum(self.stats.drops.values()) + left == self.spooled_before + self.taken()
        assert self.bench.rows() == left
        self.next_run(left)

    @rule()
    def kill_and_start(self) -> None:
        self.cancel_putting()
        self.run(self.bench.kill())
        self.bench.spool_file._close()  # noqa: SLF001  # as the system does; `close` would delete first
        self.next_run(self.bench.rows())

    def cancel_putting(self) -> None:
        for task in self.putting:
            if not task.done():
                task.cancel()
                self.run(asyncio.wait([task]))

    def taken(self) -> int:
        """Frames that `put` took in this run. One with which it waits is not taken."""
        return self.bench.sequence - self.sequence - sum(not task.done() or task.cancelled() for task in self.putting)

    def next_run(self, spooled: int) -> None:
        self.sequence = self.bench.sequence
        self.start(spooled=spooled)

    @invariant()
    def every_frame_is_known(self) -> None:
        assert self.bench.known_frames == self.spooled_before + self.taken()

    def counts_balance(self) -> None:
        """At every moment: a frame on disk or in memory is counted in no other place."""
        assert self.bench.in_memory >= 0

    @invariant()
    def counts_say_what_is_in_memory(self) -> None:
        waiting = sum(not task.done() or task.cancelled() for task in self.putting)
        assert self.bench.in_memory == len(self.bench.outbox.pending) + waiting

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.bench.context.window.frames <= self.window + 1
        assert len(self.bench.outbox.pending) <= self.window + 1

    @invariant()
    def order_is_kept_and_nothing_is_written_twice(self) -> None:
        written = self.bench.written
        assert written == sorted(set(written))

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            for _ in range(60):
                self.bench.producer.renew()
                self.run(self.bench.turn())
                self.bench.producer.acknowledge()
            self.run(self.bench.turn())
            self.cancel_putting()
            assert self.stats.published_frames + sum(self.stats.drops.values()) == self.spooled_before + self.taken()
            assert not self.bench.path.exists()
            self.run(self.bench.end())
        self.loop.close()
        self.folder.cleanup()


@pytest.fixture(autouse=True)
def _quiet() -> None:
    structlog.configure(processors=[_drop_event])


def _drop_event(*_: Any) -> Any:
    raise structlog.DropEvent


OutboxRuns.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestOutboxRuns = pytest.mark.usefixtures("_quiet")(OutboxRuns.TestCase)
