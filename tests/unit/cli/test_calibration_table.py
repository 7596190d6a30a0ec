"""What `catalog calibrate` says about a calibration, and its plot."""

import sys
from pathlib import Path

import pytest

from framematch.catalog.snapshots.calibration import Calibration, CurvePoint, Share, SourceRate
from framematch.catalog.snapshots.thresholds import METHOD_CALIBRATED, ThresholdEstimate
from framematch.cli.calibration_plot import check_plot, write_plot
from framematch.cli.calibration_table import rate_table, stated_lines
from framematch.cli.console import new_console
from framematch.core.errors import PrerequisiteError, UsageError

THRESHOLDS = ThresholdEstimate(0.7, 0.1, METHOD_CALIBRATED, 0.05, 100)
NONE = Share(0, 0, 0.0, 1.0)
CALIBRATION = Calibration(
    at="2026-03-04T05:06:07.000000Z",
    rate=0.05,
    mixup_rate=0.1,
    guarantee=0.95,
    samples=120,
    products=81,
    sources=(
        SourceRate("siblings", 0.7, Share(4, 100, 0.011, 0.099), 0.8),
        SourceRate("unseen", None, Share(0, 7, 0.0, 0.41), None, missing=12),
    ),
    mixups=Share(2, 40, 0.006, 0.169),
    ambiguous=Share(10, 100, 0.049, 0.176),
    refused=Share(30, 100, 0.212, 0.4),
    holds_truth=NONE,
    curve=(CurvePoint(0.5, 0.3, 0.0), CurvePoint(0.7, 0.04, 0.3)),
    views=20,
)


def test_the_table_has_a_row_for_each_rate_and_none_where_too_few_pictures_state_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    new_console().print(rate_table(CALIBRATION))
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [
        "accepted known products, left out of the search 5 % 4.0% 1.1 to 9.9 % 100 0.800",
        "accepted products that the catalogue lacks none - - 7 (12 missing) -",
        "accepted known products, mixed up 10 % 5.0% 0.6 to 16.9 % 40",
        "known products, ambiguous - 10.0% 4.9 to 17.6 % 100",
        "known products, refused - 30.0% 21.2 to 40.0 % 100",
        "ambiguous ones, right product in the set - - - 0",
    ]


def test_what_is_stated_names_the_bound_and_pictures_that_say_less() -> None:
    stated = dict(stated_lines(CALIBRATION, THRESHOLDS))
    assert stated["states"].endswith("as bounds that hold with a probability of 95 %")
    assert stated["weaker"].startswith("20 of the 120 pictures are the catalogue's own")
    assert stated["thresholds"] == "match 0.700, margin 0.100"


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_plot_is_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"errors.{suffix}"
    check_plot(path)
    write_plot(CALIBRATION, THRESHOLDS, path)
    assert path.stat().st_size > 1_000


def test_a_plot_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no kind of picture"):
        check_plot(tmp_path / "errors.txt")
    with pytest.raises(UsageError, match="cannot write to"):
        check_plot(tmp_path / "none" / "errors.png")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # as if it were not installed
    with pytest.raises(PrerequisiteError) as caught:
        check_plot(tmp_path / "errors.png")
    assert caught.value.hint == "Install it with: pip install 'framematch[plots]'"
