"""The watchdog ends a consumer exactly when nothing moves, there is work, and every server answers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from consumers.monitoring.watchdog import Positions, Progress, Watchdog
from framematch.core.errors import StalledError
from framematch.core.health import Health
from tests.support import eventually
from tests.unit.consumers.sample_frames import fetched

TIMEOUT_S = 0.02
PARTITION = fetched(0).partition


@dataclass
class Consumer:
    """A consumer as the watchdog sees it; `unread` frames are in the topic from its positions on."""

    unread: int | None = 0
    in_flight: int = 0
    positions: Positions | None = field(default_factory=lambda: {PARTITION: 7})
    fetched: int = 0
    delivered: int = 0
    health: Health = field(default_factory=lambda: Health("kafka", "triton", "output"))
    seen: list[Positions | None] = field(default_factory=list)
    on_probe: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        for part in ("triton", "output"):
            self.health.set_ready(part)

    def progress(self) -> Progress:
        return Progress(self.fetched, self.delivered, self.in_flight, self.positions)

    async def probe(self, positions: Positions | None) -> int | None:
        self.seen.append(positions)
        self.on_probe()
        return self.unread

    async def watch(self) -> None:
        await Watchdog(TIMEOUT_S, self.health, self.probe).run(self.progress)


async def stalls(consumer: Consumer) -> str:
    """The error with which the watchdog ends this consumer."""
    with pytest.raises(StalledError) as raised:
        await asyncio.wait_for(consumer.watch(), 10)
    return raised.value.message


async def goes_on(consumer: Consumer, *, checks: int = 4) -> None:
    """The watchdog checks this often without ending the consumer."""
    watching = asyncio.create_task(consumer.watch())
    try:
        await eventually(lambda: watching.done() or len(consumer.seen) >= checks, timeout_s=10)
        assert not watching.done()
    finally:
        watching.cancel()
        await asyncio.wait([watching])


@pytest.mark.parametrize(("unread", "in_flight"), [(1, 0), (0, 1), (5, 3)])
async def test_it_ends_a_consumer_that_does_nothing_though_there_is_work(unread: int, in_flight: int) -> None:
    message = await stalls(Consumer(unread=unread, in_flight=in_flight))
    assert f"{unread} frames to be fetched, {in_flight} in flight" in message


async def test_a_group_that_never_stops_rebalancing_is_a_stall() -> None:
    consumer = Consumer(unread=1, positions=None)
    await stalls(consumer)
    assert consumer.seen == [None, None]


async def test_a_consumer_without_work_goes_on() -> None:
    await goes_on(Consumer(unread=0))


async def test_it_goes_on_while_kafka_does_not_answer() -> None:
    await goes_on(Consumer(unread=None, in_flight=9))


async def test_a_frame_that_has_just_arrived_is_no_stall() -> None:
    consumer = Consumer(unread=1)

    def fetch() -> None:
        consumer.fetched += 1

    consumer.on_probe = fetch
    await goes_on(consumer)


async def test_the_timeout_starts_again_when_kafka_answers_again() -> None:
    answers = iter([None, 1, None, 1, None])
    consumer = Consumer()

    def answer() -> None:
        consumer.unread = next(answers, 0)

    consumer.on_probe = answer
    await goes_on(consumer, checks=6)


@pytest.mark.parametrize("part", ["triton", "output"])
async def test_an_unavailable_server_is_waited_for(part: str) -> None:
    consumer = Consumer(unread=1)
    consumer.health.set_not_ready(part, "unreachable")
    watching = asyncio.create_task(consumer.watch())
    try:
        done, _ = await asyncio.wait([watching], timeout=5 * TIMEOUT_S)
        assert (done, consumer.seen) == (set(), [])
        consumer.health.set_ready(part)
        with pytest.raises(StalledError):
            await asyncio.wait_for(watching, 10)
    finally:
        watching.cancel()


@pytest.mark.parametrize("what", ["fetched", "delivered"])
async def test_while_anything_moves_it_does_not_ask_kafka(what: str) -> None:
    consumer = Consumer(unread=1, in_flight=1)
    calls = 0

    def moving() -> Progress:
        nonlocal calls
        calls += 1
        setattr(consumer, what, calls)
        return consumer.progress()

    watching = asyncio.create_task(Watchdog(TIMEOUT_S, consumer.health, consumer.probe).run(moving))
    try:
        await eventually(lambda: calls > 30, timeout_s=10)
        assert (watching.done(), consumer.seen) == (False, [])
    finally:
        watching.cancel()
