"""Compares embeddings with references. Each comparison is a row of `framematch model check`. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from framematch.core.errors import ModelMismatchError
from framematch.vision.manifest import ModelManifest

Rows: TypeAlias = npt.NDArray[np.floating]
Kind: TypeAlias = Literal["exact pictures", "fast pictures", "texts", "JPEGs, decoded by Triton"]


@dataclass(frozen=True)
class Limit:
    """The minimum cosines to pass: of the worst row, and the mean of all rows."""

    lowest: float
    mean: float

    def __str__(self) -> str:
        return f"{self.lowest:g}" if self.lowest == self.mean else f"{self.lowest:g}, mean {self.mean:g}"


# Cosine to fp32. Half precision keeps three digits of each weight. int8 rotates a vector by some degrees, which
# retrieval tolerates: `framematch model build` measures that before it writes an int8 model.
_EXACT: Mapping[str, Limit] = {"fp32": Limit(0.9999, 0.9999), "fp16": Limit(0.999, 0.999), "int8": Limit(0.95, 0.98)}
# Fast preprocessing has at least 0.9996 for photos (framematch/vision/preprocess.py), and less for noise.
_FAST = Limit(0.99, 0.99)


@dataclass(frozen=True)
class Check:
    """One comparison. `problem` is empty when it passed. A `skipped` one has the reason in `problem`.

    `lowest` and `mean` are cosines, or None when something else was compared. `worst` names the row with the lowest.
    """

    what: str
    against: str
    number: int
    lowest: float | None = None
    mean: float | None = None
    limit: Limit | None = None
    worst: str = ""
    problem: str = ""
    skipped: bool = False

    @property
    def passed(self) -> bool:
        """Whether the comparison was made and found no problem."""
        return not self.problem


def limit_for(kind: Kind, precision: str) -> Limit:
    """The limit for a model of this precision against fp32 embeddings.

    The text tower of an int8 model has half or full precision: it is small, and a catalogue's texts are embedded once.
    """
    if kind == "texts" and precision == "int8":
        return _EXACT["fp16"]
    exact = _EXACT[precision]
    if kind == "fast pictures":
        return Limit(min(exact.lowest, _FAST.lowest), min(exact.mean, _FAST.mean))
    return exact


def limit_for_jpegs(*, is_exact: bool) -> Limit:
    """The limit for pictures that Triton decodes against the same model's embeddings of pictures decoded here."""
    return _EXACT["fp32"] if is_exact else _FAST


def cosines(found: Rows, reference: Rows) -> npt.NDArray[np.float64]:
    """The cosine of each row of `found` [N, D] to the same row of `reference` [N, D]; lengths do not matter."""
    left, right = np.asarray(found, np.float64), np.asarray(reference, np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray(np.einsum("ij,ij->i", left, right) / lengths)


def compare_embeddings(
    kind: Kind, against: str, *, names: Sequence[str], found: Rows, reference: Rows, limit: Limit
) -> Check:
    """Compare the rows of `found` with those of `reference`; both [N, D] with N >= 1, one row for each of `names`."""
    similar = cosines(found, reference)
    worst = int(similar.argmin())
    lowest, mean = float(similar[worst]), float(similar.mean())
    problem = ""
    # This form of the comparisons makes NaN fail too; argmin finds it first.
    if not lowest >= limit.lowest:
        problem = f"{names[worst]} is below the limit"
    elif not mean >= limit.mean:
        problem = "the mean is below the limit"
    return Check(kind, against, len(names), lowest, mean, limit, names[worst], problem)


def compare_token_ids(
    against: str, found: Mapping[str, Sequence[int]], reference: Mapping[str, Sequence[int]]
) -> Check:
    """Compare the ids of each text of `reference`, including the padding."""
    differing = [text for text, ids in reference.items() if list(found[text]) != list(ids)]
    problem = f"{len(differing)} of {len(reference)} texts have other ids, first {differing[0]!r}" if differing else ""
    return Check("token ids", against, len(reference), problem=problem)


def skipped(what: str, against: str, reason: str) -> Check:
    """A comparison that could not be made."""
    return Check(what, against, 0, problem=reason, skipped=True)


def require_same_model(served: ModelManifest, bundle: ModelManifest) -> None:
    """Check that the served model was built from a bundle; `bundle` is the manifest of its fp32 build.

    An int8 model has its own digest, so only its embeddings can be compared.

    Raises:
        ModelMismatchError: it was not; the message names both.
    """
    compared = {"dimension": "dimension", "preprocess": "preprocessing", "tokenizer_digest": "tokenizer"}
    if served.precision != "int8":
        compared["digest"] = "graphs"
    differing = [label for name, label in compared.items() if getattr(served, name) != getattr(bundle, name)]
    if differing:
        raise ModelMismatchError(
            f"Triton serves {served.name} ({served.digest[:12]}), which was not built from {bundle.name} "
            f"({bundle.digest[:12]}): they differ in {', '.join(differing)}",
            hint="Check against the bundle that the served model was built from, or build this one with "
            "`framematch model build`",
        )


def require_dimension(served: ModelManifest, against: str, dimension: int) -> None:
    """Check that the reference embeddings of `against` have the served model's dimension.

    Raises:
        ModelMismatchError: they have another, so they are of another model.
    """
    if served.dimension != dimension:
        raise ModelMismatchError(
            f"{against} has embeddings of {dimension} dimensions, and Triton serves {served.name} with "
            f"{served.dimension}",
            hint="Give reference embeddings of the served model, or serve the model of these embeddings",
        )
