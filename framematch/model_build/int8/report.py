"""Measures the quality of an int8 image tower: how similar its embeddings are, and whether retrieval still works."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from framematch.core.arrays import Embeddings, Pixels
from framematch.core.errors import ModelError
from framematch.model_build.onnx_session import OnnxSession, embed_pictures

# The one-sided 95 % quantile of the normal distribution: a smaller drop may be chance.
_CHANCE_Z = 1.645


@dataclass(frozen=True)
class QuantizationLimits:
    """The limits of a build without --force.

    A cosine of 0.99 is an angle of 8 degrees, 0.95 one of 18. A small CNN trained on products had a mean of 0.9998 and
    a minimum of 0.9994, and retrieval of 87.9 % became 88.1 %; calibrated with black pictures it had 0.985 and 0.89.
    Good towers of random weights, which are harder, had means of at least 0.992 (see `nodes.py`). `retrieval_drop` is
    a share of the pictures, beyond what chance explains. `same_neighbour` is used without labels. It is low, because
    the nearest of several similar pictures changes easily.
    """

    mean_cosine: float = 0.99
    lowest_cosine: float = 0.95
    retrieval_drop: float = 0.01
    same_neighbour: float = 0.80


@dataclass(frozen=True)
class Retrieval:
    """How often the nearest other picture has the same label.

    `queries` is the number of pictures that have another of their label. `before` and `after` are the shares in fp32
    and int8; `lost` and `gained` count the pictures that changed.
    """

    queries: int
    before: float
    after: float
    lost: int
    gained: int

    @property
    def drop_beyond_chance(self) -> float:
        """The smallest drop that explains `lost` and `gained` at 95 %: a paired comparison like McNemar's test."""
        changed, net = self.lost + self.gained, self.lost - self.gained
        deviation = math.sqrt(max(changed - net**2 / self.queries, 0.0)) / self.queries
        return self.before - self.after - _CHANCE_Z * deviation


@dataclass(frozen=True)
class QuantizationReport:
    """A candidate tower against its reference, on pictures that were not used for calibration.

    `same_neighbour` is the share of pictures whose nearest other picture is the same for both. `retrieval` is None
    unless two pictures have the same label.
    """

    pictures: int
    mean_cosine: float
    lowest_cosine: float
    same_neighbour: float
    retrieval: Retrieval | None

    def problems(self, limits: QuantizationLimits | None = None) -> list[str]:
        """One line for each exceeded limit; empty when the tower passes."""
        limits = limits or QuantizationLimits()
        found = []
        # This form of the comparisons makes NaN, which a broken tower may return, a problem.
        if not self.mean_cosine >= limits.mean_cosine:
            found.append(f"mean cosine to fp32 {self.mean_cosine:.4f}, at least {limits.mean_cosine} wanted")
        if not self.lowest_cosine >= limits.lowest_cosine:
            found.append(f"lowest cosine to fp32 {self.lowest_cosine:.4f}, at least {limits.lowest_cosine} wanted")
        if self.retrieval is None:
            if not self.same_neighbour >= limits.same_neighbour:
                found.append(
                    f"{self.same_neighbour:.0%} of pictures keep their nearest picture, "
                    f"at least {limits.same_neighbour:.0%} wanted"
                )
        elif not self.retrieval.drop_beyond_chance <= limits.retrieval_drop:
            found.append(
                f"retrieval {_points(self.retrieval)}, a drop of at most {100 * limits.retrieval_drop:g} points wanted"
            )
        return found

    def require(self, limits: QuantizationLimits | None = None) -> None:
        """Check `limits`.

        Raises:
            ModelError: one is exceeded; the message has the figures.
        """
        if problems := self.problems(limits):
            raise ModelError(
                f"int8 changes the embeddings too much, measured with {self.pictures} pictures: {'; '.join(problems)}",
                hint="Calibrate with more pictures, of the kind that cameras will see, build fp32, or give --force",
            )


def compare_towers(
    reference: bytes, candidate: bytes, pictures: Pixels, labels: Sequence[str] | None
) -> QuantizationReport:
    """Compare the embeddings (of unit length) of two image towers, `pixels` -> `embedding`.

    `pictures`: uint8 [N, H, W, 3], at least two, preferably not those of the calibration; `labels`: their products.

    Raises:
        ModelError: a tower does not run, or their dimensions differ.
        ValueError: fewer than two pictures.
    """
    expected = embed_pictures(OnnxSession(reference), pictures)
    actual = embed_pictures(OnnxSession(candidate), pictures)
    if expected.shape != actual.shape:
        raise ModelError(
            f"the towers have {expected.shape[1]} and {actual.shape[1]} dimensions",
            hint="Compare towers of one bundle",
        )
    return compare_embeddings(expected, actual, labels)


def compare_embeddings(expected: Embeddings, actual: Embeddings, labels: Sequence[str] | None) -> QuantizationReport:
    """Compare embeddings of the same pictures, float32 [N, D], unit length, N at least 2."""
    if len(expected) < 2:  # noqa: PLR2004  # a picture and its neighbour
        raise ValueError("two pictures at least are needed to find a nearest one")
    cosines = (expected * actual).sum(axis=1)
    before, after = _nearest(expected), _nearest(actual)
    return QuantizationReport(
        pictures=len(expected),
        mean_cosine=float(cosines.mean()),
        lowest_cosine=float(cosines.min()),
        same_neighbour=float((before == after).mean()),
        retrieval=None if labels is None else _retrieval(np.asarray(labels), before, after),
    )


def _retrieval(
    labels: npt.NDArray[np.str_], before: npt.NDArray[np.intp], after: npt.NDArray[np.intp]
) -> Retrieval | None:
    _, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    queries = counts[which] > 1  # a picture whose label is unique cannot be right, but others may find it
    if not queries.any():
        return None
    right_before = (labels[before] == labels)[queries]
    right_after = (labels[after] == labels)[queries]
    return Retrieval(
        queries=int(queries.sum()),
        before=float(right_before.mean()),
        after=float(right_after.mean()),
        lost=int((right_before & ~right_after).sum()),
        gained=int((~right_before & right_after).sum()),
    )


def _nearest(embeddings: Embeddings) -> npt.NDArray[np.intp]:
    """The index of the nearest other row for each row; [N]."""
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -np.inf)
    nearest: npt.NDArray[np.intp] = similarity.argmax(axis=1)
    return nearest


def _points(retrieval: Retrieval) -> str:
    return f"{retrieval.before:.1%} in fp32, {retrieval.after:.1%} in int8"
