"""Waiting for the first of several coroutines, and for what runs beside a block."""

import asyncio

import pytest
from structlog.testing import capture_logs

from framematch.core.errors import FramematchError
from framematch.core.lifecycle import beside, first_of, run_service


async def test_the_others_are_cancelled_when_one_returns() -> None:
    ended: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("endless")

    await first_of(endless(), asyncio.sleep(0))
    assert ended == ["endless"]


async def test_the_error_of_one_that_failed_is_raised() -> None:
    async def failing() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await first_of(asyncio.Event().wait(), failing())


async def _fail(message: str) -> None:
    raise ValueError(message)


async def test_what_runs_beside_a_block_runs_before_its_result_is_needed() -> None:
    begun = asyncio.Event()

    async def work() -> int:
        begun.set()
        return 7

    async with beside(work()) as task:
        await begun.wait()
        assert await task == 7


async def test_what_a_block_has_not_awaited_is_cancelled_at_its_end() -> None:
    async with beside(asyncio.Event().wait()) as task:
        await asyncio.sleep(0)
    assert task.cancelled()


async def test_the_error_of_what_runs_beside_a_block_is_raised_where_it_is_awaited() -> None:
    async with beside(_fail("beside")) as task:
        await asyncio.wait({task})
        with pytest.raises(ValueError, match="beside"):
            await task


async def _with_two_errors() -> None:
    async with beside(_fail("beside")) as task:
        await asyncio.wait({task})
        await _fail("of the block")


async def test_an_error_of_the_block_comes_first() -> None:
    with pytest.raises(ValueError, match="of the block"):
        await _with_two_errors()


@pytest.mark.parametrize(("error", "logged"), [(ValueError("odd"), ["ValueError: odd"]), (FramematchError("no"), [])])
def test_a_service_logs_the_bug_that_ends_it(error: Exception, logged: list[str]) -> None:
    async def main(_stop: asyncio.Event) -> None:
        raise ExceptionGroup("tasks", [error])

    with capture_logs() as events, pytest.raises((ExceptionGroup, FramematchError)):
        run_service(main, shutdown_deadline_s=1.0, log_crash=True)
    assert [event["error"] for event in events if event["event"] == "service_crashed"] == logged


async def test_a_wait_that_loses_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """MongoDB's driver does so on Python 3.11, when the cancellation comes together with an answer."""
    monkeypatch.setattr("framematch.core.lifecycle._CANCEL_AGAIN_S", 0.01)
    lost = 0

    async def forgetful() -> None:
        nonlocal lost
        while lost < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
        await asyncio.sleep(60)

    await first_of(forgetful(), asyncio.sleep(0))
    assert lost == 2
