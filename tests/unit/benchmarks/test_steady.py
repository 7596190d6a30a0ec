"""The rate of a run in its steady state."""

import pytest

from benchmarks.steady import BatchDone, steady_event_rate, steady_rate


def test_neither_the_start_nor_the_warm_up_counts() -> None:
    batches = [BatchDone(100.0, 16), BatchDone(110.0, 16), BatchDone(111.0, 16), BatchDone(112.0, 16)]
    assert steady_rate(batches, warm_up=2) == 16.0


def test_every_frame_after_the_warm_up_counts_also_of_a_batch_that_is_not_full() -> None:
    batches = [BatchDone(0.0, 3), BatchDone(1.0, 16), BatchDone(2.0, 4)]
    assert steady_rate(batches, warm_up=1) == 10.0


def test_the_order_in_which_batches_are_listed_does_not_matter() -> None:
    batches = [BatchDone(2.0, 10), BatchDone(0.0, 99), BatchDone(1.0, 10)]
    assert steady_rate(batches, warm_up=1) == 10.0


@pytest.mark.parametrize("warm_up", [0, 2])
def test_a_warm_up_that_leaves_nothing_to_measure_is_refused(warm_up: int) -> None:
    with pytest.raises(ValueError, match="nothing to measure"):
        steady_rate([BatchDone(0.0, 1), BatchDone(1.0, 1)], warm_up=warm_up)


def test_a_rate_over_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="same time"):
        steady_rate([BatchDone(1.0, 1), BatchDone(1.0, 1)], warm_up=1)


def test_the_rate_of_events_that_come_in_bursts_counts_no_part_of_a_burst() -> None:
    bursts = [start + 0.001 * number for start in (0.0, 1.0, 2.0, 3.0) for number in range(16)]
    assert steady_event_rate(bursts, warm_up=20) == pytest.approx(16.0, rel=0.01)


def test_the_rate_of_even_events_is_one_over_their_distance() -> None:
    assert steady_event_rate([0.5 * number for number in range(30)], warm_up=4) == 2.0


@pytest.mark.parametrize(("events", "warm_up"), [(4, 2), (10, 0)])
def test_too_few_events_for_their_warm_up_are_refused(events: int, warm_up: int) -> None:
    with pytest.raises(ValueError, match="too little"):
        steady_event_rate([float(number) for number in range(events)], warm_up=warm_up)
