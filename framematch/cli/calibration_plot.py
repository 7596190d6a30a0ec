"""Draws the errors of a calibration at every threshold."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from framematch.catalog.snapshots.calibration import Calibration
from framematch.catalog.snapshots.thresholds import ThresholdEstimate
from framematch.core.errors import PrerequisiteError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SUFFIXES = (".png", ".svg", ".pdf")
_LEAST = 1e-3  # no share can be read off below it, and a logarithmic axis has no 0
_INCHES = (7.0, 5.0)


def check_plot(path: Path) -> None:
    """Refuse a plot that cannot be written, before anything is done.

    Raises:
        PrerequisiteError: matplotlib is not installed.
        UsageError: an unknown kind of file, or the folder cannot be written to.
    """
    _figure()
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--plot {path}: no kind of picture", hint=f"Name a file that ends in {', '.join(_SUFFIXES)}")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"--plot {path}: cannot write to {path.parent}", hint="Give a folder that exists")


def write_plot(calibration: Calibration, thresholds: ThresholdEstimate, path: Path) -> None:
    """Write the detection error trade-off with the point that was chosen, both axes logarithmic.

    Raises:
        UsageError: the file cannot be written.
    """
    figure = _figure()
    axes = figure.add_subplot()
    accepted = [max(point.accepted, _LEAST) for point in calibration.curve]
    refused = [max(point.refused, _LEAST) for point in calibration.curve]
    axes.plot(accepted, refused, drawstyle="steps-post", color="tab:blue")
    if calibration.curve:
        chosen = min(calibration.curve, key=lambda point: abs(point.threshold - thresholds.match))
        axes.plot(
            [max(chosen.accepted, _LEAST)], [max(chosen.refused, _LEAST)], "o", color="tab:red",
            label=f"match {thresholds.match:.3f}",
        )  # fmt: skip
    axes.axvline(calibration.rate, color="gray", linestyle=":", label=f"stated rate {100 * calibration.rate:g} %")
    axes.set(
        xscale="log", yscale="log", xlim=(_LEAST, 1), ylim=(_LEAST, 1),
        xlabel="accepted of pictures without a product", ylabel="refused of pictures of known products",
        title=f"{calibration.samples} labelled pictures, {calibration.products} products",
    )  # fmt: skip
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint="Check space and rights") from None


def _figure() -> "Figure":
    """An empty figure.

    Raises:
        PrerequisiteError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PrerequisiteError(
            f"--plot needs the Python package {error.name or 'matplotlib'!r}",
            hint="Install it with: pip install 'framematch[plots]'",
        ) from error
    return Figure(figsize=_INCHES, layout="constrained")
