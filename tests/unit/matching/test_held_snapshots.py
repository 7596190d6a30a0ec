"""What a snapshot is made of is kept until its last frame, and freed in a thread."""

import asyncio
import threading
from typing import Any

import pytest

from framematch.matching.serving.encoder_pool import EncoderPool
from framematch.matching.serving.held_snapshots import HeldSnapshots
from tests.unit.consumers.sample_frames import make_served


class FakeMatcher:
    """Records in which thread it is freed."""

    def __init__(self, freed: list[str]) -> None:
        self._freed = freed

    def __del__(self) -> None:
        self._freed.append(threading.current_thread().name)


class FakeEncoder:
    """An encoder that can be closed."""

    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        """Like `ImageEncoder.close`."""
        self.closed = True


async def test_it_is_freed_in_a_thread_after_the_last_reference() -> None:
    held, freed = HeldSnapshots(), list[str]()
    served = make_served(matcher=FakeMatcher(freed))
    held.add(served)
    await held.free_unused()
    assert (len(held), freed) == (1, [])
    del served
    assert freed == [], "the end of the last frame frees nothing"
    await held.free_unused()
    assert len(held) == 0
    assert len(freed) == 1
    assert freed[0] != threading.main_thread().name


async def test_an_index_that_two_snapshots_share_is_freed_with_the_second() -> None:
    held, freed = HeldSnapshots(), list[str]()
    matcher = FakeMatcher(freed)
    first, second = make_served(matcher=matcher), make_served(matcher=matcher)
    del matcher
    for served in (first, second):
        held.add(served)
    del served, first
    await held.free_unused()
    assert (len(held), freed) == (1, [])
    del second
    await held.free_unused()
    assert len(freed) == 1


@pytest.fixture
def connected() -> list[tuple[str, FakeEncoder]]:
    return []


@pytest.fixture
def pool(connected: list[tuple[str, FakeEncoder]]) -> EncoderPool:
    async def connect(digest: str) -> Any:
        encoder = FakeEncoder()
        await asyncio.sleep(0)
        connected.append((digest, encoder))
        return encoder

    return EncoderPool(connect)


async def test_snapshots_of_one_model_share_its_connection(
    pool: EncoderPool, connected: list[tuple[str, FakeEncoder]]
) -> None:
    one, same, other = await asyncio.gather(pool.get("a"), pool.get("a"), pool.get("b"))
    assert one is same
    assert one is not other
    assert sorted(digest for digest, _ in connected) == ["a", "b"]


async def test_a_model_that_nothing_uses_is_closed_and_connected_again_when_it_is_needed(
    pool: EncoderPool, connected: list[tuple[str, FakeEncoder]]
) -> None:
    kept, _ = await pool.get("a"), await pool.get("b")
    await pool.close_unused([kept])
    assert [(digest, encoder.closed) for digest, encoder in connected] == [("a", False), ("b", True)]
    await pool.get("b")
    await pool.close()
    assert [encoder.closed for _, encoder in connected] == [True, True, True]


async def test_nothing_is_closed_while_a_snapshot_is_opened(
    pool: EncoderPool, connected: list[tuple[str, FakeEncoder]]
) -> None:
    with pool.opening():
        await pool.get("a")
        await pool.close_unused([])
        assert not connected[0][1].closed
    await pool.close_unused([])
    assert connected[0][1].closed
