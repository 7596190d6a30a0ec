"""Batches of regions: none lost or twice, in order, never too large, closed in time."""

from hypothesis import given
from hypothesis import strategies as st

from consumers.stages.batcher import Batcher, RegionOf, regions_of
from consumers.work import Work
from tests.unit.consumers.made_up_work import prepare, work

BATCH_SIZE, WINDOW_S = 4, 0.5


def of_regions(offset: int, regions: int) -> list[RegionOf]:
    made = work(offset)
    prepare(made, regions)
    return regions_of(made)


@given(st.lists(st.one_of(st.integers(1, 11), st.just("take")), max_size=40))
def test_every_region_is_in_one_batch_in_its_turn(script: list[int | str]) -> None:
    batcher = Batcher(batch_size=BATCH_SIZE, window_s=WINDOW_S)
    added: list[tuple[Work, int]] = []
    batched: list[tuple[Work, int]] = []

    def take() -> None:
        batch = batcher.take()
        assert len(batch) == min(BATCH_SIZE, len(added) - len(batched))
        for region in batch:
            assert region.crop is region.work.crops[region.number]
        batched.extend((region.work, region.number) for region in batch)

    for offset, step in enumerate(script):
        if isinstance(step, int):
            frame = of_regions(offset, step)
            batcher.add(frame, 0.0)
            added += [(region.work, region.number) for region in frame]
        else:
            take()
        assert len(batcher) == len(added) - len(batched)
    while len(batcher):
        take()
    assert batched == added
    assert batcher.due_in_s(0.0) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 2)), max_size=10), st.floats(0, 30))
def test_a_batch_is_due_when_it_is_full_or_when_its_oldest_frame_has_waited(
    frames: list[tuple[int, float]], later_s: float
) -> None:
    batcher = Batcher(batch_size=BATCH_SIZE, window_s=WINDOW_S)
    now_s, oldest_s, regions = 100.0, None, 0
    for offset, (count, pause_s) in enumerate(frames):
        now_s += pause_s
        batcher.add(of_regions(offset, count), now_s)
        regions += count
        oldest_s = now_s if oldest_s is None and count else oldest_s
    now_s += later_s
    due_in_s = batcher.due_in_s(now_s)
    if oldest_s is None:
        assert due_in_s is None
    elif regions >= BATCH_SIZE or now_s >= oldest_s + WINDOW_S:
        assert due_in_s == 0
    else:
        assert due_in_s == oldest_s + WINDOW_S - now_s > 0


def test_what_is_left_of_a_frame_keeps_its_time() -> None:
    batcher = Batcher(batch_size=BATCH_SIZE, window_s=WINDOW_S)
    batcher.add(of_regions(0, BATCH_SIZE + 1), 10.0)
    batcher.take()
    batcher.add(of_regions(1, 1), 10.25)
    assert batcher.due_in_s(10.25) == 0.25


def test_without_a_window_a_region_is_due_at_once() -> None:
    batcher = Batcher(batch_size=BATCH_SIZE, window_s=0)
    batcher.add(of_regions(0, 1), 10.0)
    assert batcher.due_in_s(10.0) == 0


def test_what_is_given_up_is_in_no_batch() -> None:
    batcher = Batcher(batch_size=BATCH_SIZE, window_s=0)
    batcher.add(of_regions(0, 9), 10.0)
    batcher.clear()
    assert (len(batcher), batcher.take(), batcher.due_in_s(99.0)) == (0, [], None)
