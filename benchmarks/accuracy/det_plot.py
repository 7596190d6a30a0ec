"""Draws detection error trade-off curves: the known products that are refused over the impostors that are accepted."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

_LEAST = 1e-3

Scores = NDArray[np.floating]


def plot_det(known: Scores, impostors: Mapping[str, Scores], stated: Mapping[str, float], path: Path) -> None:
    """A PNG with a curve for each source of impostors, and the operating point of each stated rate by its threshold.

    `known` and `impostors` are the similarities of the most similar product; `stated` are thresholds by their label.
    """
    canvas = Canvas(figsize=(6, 6), layout="constrained")
    axes = canvas.subplots()
    thresholds = np.unique(known)
    refused = np.array([(known < threshold).mean() for threshold in thresholds])
    for source, scores in impostors.items():
        accepted = np.array([(scores >= threshold).mean() for threshold in thresholds])
        axes.plot(np.maximum(accepted, _LEAST), np.maximum(refused, _LEAST), label=source)
        for label, threshold in stated.items():
            at = max((scores >= threshold).mean(), _LEAST), max((known < threshold).mean(), _LEAST)
            axes.plot(*at, "ko", markersize=4)
            axes.annotate(label, at, textcoords="offset points", xytext=(5, 5))
    axes.set(xscale="log", yscale="log", xlabel="impostors accepted", ylabel="known products refused")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    canvas.savefig(path, dpi=120)
