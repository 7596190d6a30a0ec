"""The table, the JSON and the plot."""

import json
from pathlib import Path

import cv2
import pytest
from rich.console import Console

from benchmarks.harness import Comparison, Figure, Machine, Round
from benchmarks.report import figure_table, grid, plot, publish, report_json
from benchmarks.results import Results

MACHINE = Machine(cpu="Test", cores=2, memory_gib=4.0, load_average_1m=0.5, system="Linux", python="3.11")
COMPARISON = Comparison("a_vs_b", "a", "b", "frames/s", (Round(8, 10), Round(9, 10)), goal=0.95)


def _text(figures: dict[str, Figure], at_least: dict[str, float], at_most: dict[str, float] | None = None) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(figure_table(figures, at_least, at_most))
    return capture.get()


def test_json_has_figures_machine_and_settings() -> None:
    figures = {"a_vs_b": Figure(0.96, 0.94, 0.97, "ratio")}
    assert json.loads(report_json(figures, MACHINE, {"quick": True})) == {
        "figures": {"a_vs_b": {"median": 0.96, "low": 0.94, "high": 0.97, "unit": "ratio"}},
        "machine": {
            "cpu": "Test",
            "cores": 2,
            "memory_gib": 4.0,
            "load_average_1m": 0.5,
            "system": "Linux",
            "python": "3.11",
        },
        "settings": {"quick": True},
    }


def test_the_median_decides_whether_a_goal_is_reached() -> None:
    reached = _text({"a_vs_b": Figure(0.95, 0.5, 1.0, "ratio")}, {"a_vs_b": 0.95})
    missed = _text({"a_vs_b": Figure(0.949, 0.5, 1.0, "ratio")}, {"a_vs_b": 0.95})
    assert ">= 0.95: reached" in reached
    assert ">= 0.95: missed" in missed


@pytest.mark.parametrize(("value", "said"), [(1.2, "reached"), (1.21, "missed")])
def test_an_upper_limit_is_reached_when_the_median_is_not_above_it(value: float, said: str) -> None:
    assert f"<= 1.2: {said}" in _text({"a": Figure(value, 0.5, 9.0, "ratio")}, {}, {"a": 1.2})


def test_a_figure_without_a_goal_is_not_judged() -> None:
    assert "reached" not in _text({"a": Figure(1, 1, 1, "ms")}, {"b": 0.5})


@pytest.mark.parametrize(
    ("value", "shown"),
    [(12345.6, "12346"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.01234, "0.012"), (-12.34, "-12.3")],
)
def test_values_have_about_three_digits_and_no_exponent(value: float, shown: str) -> None:
    assert f" {shown} " in _text({"a": Figure(value, 0, 0, "ms")}, {})


@pytest.mark.parametrize(("comparisons", "bands_and_columns"), [(1, (1, 1)), (4, (1, 4)), (5, (2, 4)), (9, (3, 4))])
def test_a_plot_has_four_comparisons_side_by_side_at_most(comparisons: int, bands_and_columns: tuple[int, int]) -> None:
    assert grid(comparisons) == bands_and_columns


def test_the_plot_is_a_picture_with_a_column_for_each_comparison(tmp_path: Path) -> None:
    plot([COMPARISON, COMPARISON], tmp_path / "plot.png")
    picture = cv2.imread(str(tmp_path / "plot.png"))
    assert picture is not None
    assert picture.shape[:2] == (6 * 120, 2 * 5 * 120)


def test_publishing_writes_both_files_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Results(figures={"a_vs_b.decode_time": Figure(1, 1, 1, "ms")})
    found.add(COMPARISON)
    json_file, plot_file = tmp_path / "new" / "a.json", tmp_path / "new" / "a.png"
    publish(found, machine=MACHINE, json_file=json_file, plot_file=plot_file)
    assert set(json.loads(json_file.read_bytes())["figures"]) == {*COMPARISON.figures(), "a_vs_b.decode_time"}
    assert plot_file.stat().st_size > 0
    said = capsys.readouterr().out
    assert str(json_file) in said
    assert str(plot_file) in said


def test_what_was_not_measured_is_said_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(
        Results(missing={"spool": "no disk"}),
        machine=MACHINE,
        json_file=tmp_path / "a.json",
        plot_file=tmp_path / "a.png",
    )
    assert "spool: no disk" in capsys.readouterr().out
    assert json.loads((tmp_path / "a.json").read_bytes())["settings"]["not_measured"] == {"spool": "no disk"}
    assert not (tmp_path / "a.png").exists()
