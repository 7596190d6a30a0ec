"""Waiting for the first of several coroutines."""

import asyncio

import pytest

from framematch.core.lifecycle import first_of


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
