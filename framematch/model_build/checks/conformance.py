"""Compares embeddings with reference ones: each comparison is a row of `framematch model check`. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from framematch.core.errors import ModelMismatchError
from framematch.vision.manifest import ModelManifest

Rows: TypeAlias = npt.NDArray[np.floating]
Kind: TypeAlias = Literal["exact pictures", "fast pictures", "texts"]


@dataclass(frozen=True)
class Limit:
    """The least cosine that passes: of the worst row, and of all rows together."""

    lowest: float
    mean: float

    def __str__(self) -> str:
        return f"{self.lowest:g}" if self.lowest == self.mean else f"{self.lowest:g}, mean {self.mean:g}"


# Cosine to fp32. Half precision keeps three digits of each weight. int8 turns a vector by some degrees, which retrieval
# can bear: `framematch model build` measures that before it writes an int8 model.
_EXACT: Mapping[str, Limit] = {"fp32": Limit(0.9999, 0.9999), "fp16": Limit(0.999, 0.999), "int8": Limit(0.95, 0.98)}
# Fast preprocessing gives 0.9996 at worst for photos (framematch/vision/preprocess.py); noise would give less.
_FAST = Limit(0.99, 0.99)


@dataclass(frozen=True)
class Check:
    """One comparison. `problem` is empty when it passed; `skipped` ones were not made, and `problem` says why.

    `lowest` and `mean` are cosines, None where something else was compared. `worst` names the row with the lowest.
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
        """Whether it was made and found nothing wrong."""
        return not self.problem


def limit_for(kind: Kind, precision: str) -> Limit:
    """What a model of this precision must reach against fp32 embeddings.

    int8 models have their text tower in half or full precision: it is small, and a catalogue's texts are embedded once.
    """
    if kind == "texts" and precision == "int8":
        return _EXACT["fp16"]
    exact = _EXACT[precision]
    if kind == "fast pictures":
        return Limit(min(exact.lowest, _FAST.lowest), min(exact.mean, _FAST.mean))
    return exact


def cosines(found: Rows, reference: Rows) -> npt.NDArray[np.float64]:
    """Of each row of `found` [N, D] to the same row of `reference` [N, D]; lengths do not matter."""
    left, right = np.asarray(found, np.float64), np.asarray(reference, np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray(np.einsum("ij,ij->i", left, right) / lengths)


def compare_embeddings(
    kind: Kind, against: str, *, names: Sequence[str], found: Rows, reference: Rows, limit: Limit
) -> Check:
    """The rows of `found` against those of `reference`; both [N, D] with N >= 1, one row for each of `names`."""
    similar = cosines(found, reference)
    worst = int(similar.argmin())
    lowest, mean = float(similar[worst]), float(similar.mean())
    problem = ""
    # Written so that NaN fails too; argmin finds it first.
    if not lowest >= limit.lowest:
        problem = f"{names[worst]} is below the limit"
    elif not mean >= limit.mean:
        problem = "the mean is below the limit"
    return Check(kind, against, len(names), lowest, mean, limit, names[worst], problem)


def compare_token_ids(
    against: str, found: Mapping[str, Sequence[int]], reference: Mapping[str, Sequence[int]]
) -> Check:
    """The ids of each text of `reference`; every one counts, padding too."""
    differing = [text for text, ids in reference.items() if list(found[text]) != list(ids)]
    problem = f"{len(differing)} of {len(reference)} texts have other ids, first {differing[0]!r}" if differing else ""
    return Check("token ids", against, len(reference), problem=problem)


def skipped(what: str, against: str, reason: str) -> Check:
    """A comparison that could not be made."""
    return Check(what, against, 0, problem=reason, skipped=True)


def require_same_model(served: ModelManifest, bundle: ModelManifest) -> None:
    """See that what is served was built from the bundle, whose fp32 build would carry the manifest `bundle`.

    An int8 model has a digest of its own, so there the embeddings must tell.

    Raises:
        ModelMismatchError: it was not; the message names both.
    """
    kept = {"dimension": "dimension", "preprocess": "preprocessing", "tokenizer_digest": "tokenizer"}
    if served.precision != "int8":
        kept["digest"] = "graphs"
    differing = [said for name, said in kept.items() if getattr(served, name) != getattr(bundle, name)]
    if differing:
        raise ModelMismatchError(
            f"Triton serves {served.name} ({served.digest[:12]}), which was not built from {bundle.name} "
            f"({bundle.digest[:12]}): they differ in {', '.join(differing)}",
            hint="Check against the bundle that the served model was built from, or build this one with "
            "`framematch model build`",
        )


def require_dimension(served: ModelManifest, against: str, dimension: int) -> None:
    """See that the reference embeddings of `against` have the served model's dimension.

    Raises:
        ModelMismatchError: they have not, so they are of another model.
    """
    if served.dimension != dimension:
        raise ModelMismatchError(
            f"{against} has embeddings of {dimension} dimensions, and Triton serves {served.name} with "
            f"{served.dimension}",
            hint="Give the reference embeddings of the model that is served, or serve the model that they are of",
        )
