"""Rounds, ratios, percentiles and rates."""

import statistics
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness import Figure, Results, percentile, steady_rate, take_turns


def test_a_figure_is_the_median_with_the_lowest_and_the_highest() -> None:
    assert Figure.of([3.0, 1.0, 2.0, 10.0, 2.5], "ms") == Figure(median=2.5, low=1.0, high=10.0, unit="ms")


def test_the_ratio_is_taken_in_each_round_before_the_median() -> None:
    found = Results()
    found.compare("a_vs_b", "a", "b", [{"a": 10, "b": 10}, {"a": 50, "b": 100}, {"a": 9, "b": 10}])
    assert found.figures == {
        "a_vs_b": Figure(0.9, 0.5, 1.0, "ratio"),  # the ratio of the medians would be 1.0
        "a_vs_b.a": Figure(10, 9, 50, "frames/s"),
        "a_vs_b.b": Figure(10, 10, 100, "frames/s"),
    }


def test_sides_take_turns_forwards_and_backwards(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(len(order))

    rates = take_turns("speed", {name: partial(side, name) for name in "ABC"}, rounds=3)
    assert "".join(order) == "ABCCBAABC"
    assert rates[1] == {"A": 6.0, "B": 5.0, "C": 4.0}
    assert "speed, round 2 of 3: A 6.0, B 5.0, C 4.0 frames/s" in capsys.readouterr().out


def test_merged_parts_keep_their_settings_apart_and_models_their_figures() -> None:
    found, figure = Results(), Figure(1, 1, 1, "s")
    found.merge("speed", "demo", Results(settings={"rounds": 1}, figures={"a": figure}, at_least={"a": 2}))
    found.merge(
        "spool", "", Results(settings={"rounds": 2}, figures={"a": figure}, at_most={"a": 3}, missing={"b": "c"})
    )
    assert found.settings == {"demo.speed": {"rounds": 1}, "spool": {"rounds": 2}}
    assert found.figures == {"demo.a": figure, "a": figure}
    assert (found.at_least, found.at_most, found.missing) == ({"demo.a": 2}, {"a": 3}, {"b": "c"})


@pytest.mark.parametrize(("percent", "value"), [(1, 1), (50, 50), (99, 99), (100, 100)])
def test_a_percentile_is_a_value_that_was_measured(percent: int, value: int) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], percent) == value


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_so_many_per_cent_do_not_exceed_a_percentile_and_fewer_do_not_reach_it(
    values: list[float], percent: int
) -> None:
    found = percentile(values, percent)
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(statistics.StatisticsError):
        percentile([], 50)


def test_the_rate_of_events_in_bursts_counts_no_part_of_a_burst() -> None:
    bursts = [start + 0.001 * number for start in (0.0, 1.0, 2.0, 3.0) for number in range(16)]
    assert steady_rate(bursts, warm_up=20) == pytest.approx(16.0, rel=0.01)


def test_a_slow_first_batch_does_not_count_whatever_the_order_of_the_times() -> None:
    assert steady_rate([112.0, 111.0, 110.0] * 16 + [100.0] * 16, warm_up=17) == 16.0


def test_the_rate_of_even_events_is_one_over_their_distance() -> None:
    assert steady_rate([0.5 * number for number in range(30)], warm_up=4) == 2.0


@pytest.mark.parametrize(("events", "warm_up"), [(4, 2), (10, 0)])
def test_too_few_events_for_their_warm_up_are_refused(events: int, warm_up: int) -> None:
    with pytest.raises(ValueError, match="too little"):
        steady_rate([float(number) for number in range(events)], warm_up=warm_up)


def test_a_rate_over_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="same time"):
        steady_rate([1.0] * 9, warm_up=1)
