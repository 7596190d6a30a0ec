"""The shared buffer: each side sees the counts and the JPEG of the other, and counts outlast their process."""

import os

import pytest

from edge.link.shared_buffer import Count, Counts, SharedBuffer


def test_counts_start_at_0_and_are_seen_by_the_other_side() -> None:
    mine = SharedBuffer.create(100)
    theirs = SharedBuffer(os.dup(mine.descriptor))
    assert mine.counts() == Counts()
    assert theirs.add(Count.CAPTURED) == 0
    assert theirs.add(Count.CAPTURED, 2) == 1
    theirs.set(Count.LAG_US, -5)
    theirs.close()
    assert (mine.counts().captured, mine.counts().lag_us) == (3, -5)
    mine.close()


def test_each_count_is_stored_separately() -> None:
    buffer = SharedBuffer.create(100)
    for count in Count:
        buffer.set(count, 10 + count)
    assert [buffer.counts().of(count) for count in Count] == [10 + count for count in Count]
    buffer.close()


def test_a_jpeg_of_the_maximum_size_can_be_read_back() -> None:
    buffer = SharedBuffer.create(5_000)
    buffer.set(Count.CAPTURED, 7)
    buffer.put_jpeg(b"x" * 5_000)
    assert buffer.jpeg(5_000) == b"x" * 5_000
    assert buffer.counts() == Counts(captured=7)
    buffer.close()


def test_a_jpeg_that_is_too_large_is_an_error() -> None:
    buffer = SharedBuffer.create(10)
    with pytest.raises(ValueError, match="different structures"):
        buffer.put_jpeg(b"x" * 11)
    buffer.close()


def test_it_may_be_closed_twice() -> None:
    buffer = SharedBuffer.create(10)
    buffer.close()
    buffer.close()
