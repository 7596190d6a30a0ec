"""Rounds, ratios and figures."""

import pytest

from benchmarks.harness import Comparison, Figure, Round, alternate, argument_parser, describe_machine


def test_a_figure_is_the_median_with_the_lowest_and_the_highest() -> None:
    assert Figure.of([3.0, 1.0, 2.0, 10.0, 2.5], "ms") == Figure(median=2.5, low=1.0, high=10.0, unit="ms")


def test_the_ratio_is_taken_in_each_round_before_the_median() -> None:
    rounds = (Round(10, 10), Round(50, 100), Round(9, 10))
    comparison = Comparison("a_vs_b", "a", "b", "frames/s", rounds)
    # The ratio of the medians would be 1.0.
    assert comparison.ratio == Figure(0.9, 0.5, 1.0, "ratio")


def test_a_comparison_reports_the_ratio_and_both_rates() -> None:
    figures = Comparison("a_vs_b", "a", "b", "frames/s", (Round(8, 10),)).figures()
    assert figures == {
        "a_vs_b": Figure(0.8, 0.8, 0.8, "ratio"),
        "a_vs_b.a": Figure(8, 8, 8, "frames/s"),
        "a_vs_b.b": Figure(10, 10, 10, "frames/s"),
    }


def test_sides_take_turns_and_the_one_that_begins_changes() -> None:
    order: list[str] = []

    def side(name: str, rate: float) -> float:
        order.append(name)
        return rate

    found = alternate(lambda: side("A", 1.0), lambda: side("B", 2.0), rounds=3)
    assert "".join(order) == "ABBAAB"
    assert found == (Round(1.0, 2.0),) * 3


def test_each_round_is_shown_when_it_is_over() -> None:
    shown: list[tuple[int, Round]] = []
    rates = iter([1.0, 2.0, 3.0, 4.0])
    alternate(lambda: next(rates), lambda: next(rates), rounds=2, on_round=lambda *args: shown.append(args))
    assert shown == [(1, Round(1.0, 2.0)), (2, Round(4.0, 3.0))]


def test_the_machine_is_described_as_it_is() -> None:
    machine = describe_machine()
    assert machine.cores >= 1
    assert machine.memory_gib > 0
    assert machine.cpu


def test_fewer_than_five_rounds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        argument_parser("consumer", "").parse_args(["--rounds", "4"])
    assert ended.value.code == 2
    assert "give 5 or more" in capsys.readouterr().err


def test_results_go_to_the_build_folder_unless_told() -> None:
    arguments = argument_parser("consumer", "").parse_args([])
    assert (str(arguments.json), str(arguments.plot)) == (
        "build/benchmarks/consumer.json",
        "build/benchmarks/consumer.png",
    )
