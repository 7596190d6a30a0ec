"""Shared memory: what one side counts and lays down, the other reads, and what is counted stays."""

import os

import pytest

from edge.link.area import Count, Counts, SharedArea


def test_counts_begin_at_0_and_are_seen_by_the_other_side() -> None:
    mine = SharedArea.create(100)
    theirs = SharedArea(os.dup(mine.descriptor))
    assert mine.counts() == Counts()
    assert theirs.add(Count.CAPTURED) == 0
    assert theirs.add(Count.CAPTURED, 2) == 1
    theirs.set(Count.LAG_US, -5)
    theirs.close()
    assert (mine.counts().captured, mine.counts().lag_us) == (3, -5)
    mine.close()


def test_each_count_has_a_place_of_its_own() -> None:
    area = SharedArea.create(100)
    for count in Count:
        area.set(count, 10 + count)
    assert [area.counts().of(count) for count in Count] == [10 + count for count in Count]
    area.close()


def test_a_jpeg_of_the_largest_size_is_given_back_whole() -> None:
    area = SharedArea.create(5_000)
    area.set(Count.CAPTURED, 7)
    area.put_jpeg(b"x" * 5_000)
    assert area.jpeg(5_000) == b"x" * 5_000
    assert area.counts() == Counts(captured=7)
    area.close()


def test_a_jpeg_that_is_too_large_is_refused() -> None:
    area = SharedArea.create(10)
    with pytest.raises(ValueError, match="different structures"):
        area.put_jpeg(b"x" * 11)
    area.close()


def test_closing_twice_is_fine() -> None:
    area = SharedArea.create(10)
    area.close()
    area.close()
