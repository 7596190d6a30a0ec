"""The table, the JSON, the plot, and the command line that leads to them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
from rich.console import Console

from benchmarks.cli import Benchmark, Part
from benchmarks.harness import Figure, Options, Results
from benchmarks.report import describe_machine, figure_table, publish
from framematch.core.errors import FramematchError


def table_of(results: Results) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(figure_table(results))
    return capture.get()


@pytest.mark.parametrize(("median", "verdict"), [(0.95, "reached"), (0.949, "missed")])
def test_the_median_must_reach_a_lower_limit(median: float, verdict: str) -> None:
    results = Results(figures={"a": Figure(median, 0.5, 1.0, "ratio")}, at_least={"a": 0.95})
    assert f">= 0.95: {verdict}" in table_of(results)


@pytest.mark.parametrize(("median", "verdict"), [(1.2, "reached"), (1.21, "missed")])
def test_the_median_must_not_exceed_an_upper_limit(median: float, verdict: str) -> None:
    results = Results(figures={"a": Figure(median, 0.5, 9.0, "ratio")}, at_most={"a": 1.2})
    assert f"<= 1.2: {verdict}" in table_of(results)


def test_a_figure_without_a_goal_has_no_verdict() -> None:
    assert "reached" not in table_of(Results(figures={"a": Figure(1, 1, 1, "ms")}, at_least={"b": 0.5}))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(12345.6, "12346"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.01234, "0.012"), (-12.34, "-12.3")],
)
def test_values_have_about_three_digits_and_no_exponent(value: float, shown: str) -> None:
    assert f" {shown} " in table_of(Results(figures={"a": Figure(value, 0, 0, "ms")}))


def test_publishing_writes_json_and_a_plot_and_prints_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = Results({"a": Figure(1, 0.5, 2, "ms")}, at_most={"a": 2}, settings={"b": 3}, missing={"spool": "no disk"})
    results.compare("a_vs_b", "a", "b", [{"a": 8, "b": 10}])
    publish(results, name="edge", machine=describe_machine(), folder=tmp_path / "new")
    written = json.loads((tmp_path / "new" / "edge.json").read_bytes())
    assert written["figures"]["a_vs_b"] == {"median": 0.8, "low": 0.8, "high": 0.8, "unit": "ratio"}
    assert written["machine"]["cores"] >= 1
    assert written["settings"] == {"b": 3, "not_measured": {"spool": "no disk"}}
    output = capsys.readouterr().out
    assert "spool: no disk" in output
    assert str(tmp_path / "new" / "edge.png") in output
    assert cv2.imread(str(tmp_path / "new" / "edge.png")) is not None


def fail(_site: str, _options: Options) -> Results:
    raise FramematchError("no broker")


def echo(site: str, options: Options) -> Results:
    return Results(figures={"rounds": Figure.of([options.rounds], site)})


@contextmanager
def site(_folder: Path, model: str) -> Iterator[str]:
    yield f"site of {model}"


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    parts = {
        "slow": Part(fail, ("demo",), in_quick=False),
        "fast": Part(echo, ("demo", "b32")),
    }
    benchmark = Benchmark("test", "A test.", parts, site, models=("b32", "demo"))
    monkeypatch.setattr("sys.argv", ["test", f"--out={folder}", *arguments])
    monkeypatch.setattr("benchmarks.cli.configure_logging", lambda *_args, **_kwargs: None)
    monkeypatch.setattr("signal.signal", lambda *_args: None)
    return benchmark.main(), json.loads((folder / "test.json").read_bytes())


def test_quick_runs_some_parts_with_their_first_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, written = run(monkeypatch, tmp_path, "--quick")
    assert code == 0
    assert written["figures"] == {"demo.rounds": {"median": 5, "low": 5, "high": 5, "unit": "site of demo"}}


def test_a_part_that_fails_is_missing_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, written = run(monkeypatch, tmp_path, "--rounds=3")
    assert code == 1
    assert written["settings"]["not_measured"] == {"slow, demo": "no broker"}  # type: ignore[index]  # JSON
    assert set(written["figures"]) == {"b32.rounds", "demo.rounds"}  # type: ignore[call-overload]  # JSON
    assert "slow, demo failed: no broker" in capsys.readouterr().err


def test_fewer_than_three_rounds_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, tmp_path, "--rounds=2")
