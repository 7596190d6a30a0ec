"""Batches of regions: none is lost or repeated, in order, never too large, closed in time."""

from hypothesis import given
from hypothesis import strategies as st

from consumers.in_flight_frame import InFlightFrame
from consumers.stages.batcher import Batcher, RegionCrop, region_crops
from tests.unit.consumers.sample_frames import fetched, prepare

BATCH_SIZE, WINDOW_S = 4, 0.5


def of_regions(offset: int, regions: int) -> list[RegionCrop]:
    frame = fetched(offset)
    prepare(frame, regions)
    return region_crops(frame)


@given(st.lists(st.one_of(st.integers(1, 11), st.just("pop")), max_size=40))
def test_every_region_is_in_one_batch_in_order(script: list[int | str]) -> None:
    batcher = Batcher(batch_size=BATCH_SIZE, window_s=WINDOW_S)
    added: list[tuple[InFlightFrame, int]] = []
    batched: list[tuple[InFlightFrame, int]] = []

    def pop_batch() -> None:
        batch = batcher.pop_batch()
        assert len(batch) == min(BATCH_SIZE, len(added) - len(batched))
        for region in batch:
            assert region.crop is region.frame.crops[region.number]
        batched.extend((region.frame, region.number) for region in batch)

    for offset, step in enumerate(script):
        if isinstance(step, int):
            frame = of_regions(offset, step)
            batcher.add(frame, 0.0)
            added += [(region.frame, region.number) for region in frame]
        else:
            pop_batch()
        assert len(batcher) == len(added) - len(batched)
    while len(batcher):
        pop_batch()
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


def test_the_rest_of_a_frame_keeps_its_waiting_time() -> None:
    batcher = Batcher(batch_size=BATCH_SIZE, window_s=WINDOW_S)
    batcher.add(of_regions(0, BATCH_SIZE + 1), 10.0)
    batcher.pop_batch()
    batcher.add(of_regions(1, 1), 10.25)
    assert batcher.due_in_s(10.25) == 0.25


def test_without_a_window_a_region_is_due_at_once() -> None:
    batcher = Batcher(batch_size=BATCH_SIZE, window_s=0)
    batcher.add(of_regions(0, 1), 10.0)
    assert batcher.due_in_s(10.0) == 0


def test_while_the_model_is_idle_a_region_is_due_at_once() -> None:
    batcher = Batcher(batch_size=BATCH_SIZE, window_s=WINDOW_S)
    assert batcher.due_in_s(10.0, idle=True) is None
    batcher.add(of_regions(0, 1), 10.0)
    assert (batcher.due_in_s(10.0, idle=True), batcher.due_in_s(10.0)) == (0, WINDOW_S)
