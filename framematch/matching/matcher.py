"""From embeddings to decisions, by one snapshot."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from framematch.catalog.snapshot import Snapshot
from framematch.matching.decision import Decision, Thresholds, decide
from framematch.matching.index import ProductIndex


class Matcher:
    """Searches one snapshot and decides by its thresholds, or by those that are given in their place."""

    def __init__(
        self,
        snapshot: Snapshot,
        k: int = 5,
        match_threshold: float | None = None,
        margin_threshold: float | None = None,
    ) -> None:
        estimated = snapshot.manifest.thresholds
        self.manifest = snapshot.manifest
        self.thresholds = Thresholds(
            match=estimated.match if match_threshold is None else match_threshold,
            margin=estimated.margin if margin_threshold is None else margin_threshold,
        )
        self._k = k
        self._index = ProductIndex(snapshot)

    def match(self, embeddings: NDArray[np.float32]) -> list[Decision]:
        """One decision for each row of float32 [N, D], with `k` candidates. Computes: call it in a thread."""
        # The margin needs a second product even when only one is asked for.
        found = self._index.search(embeddings, max(self._k, 2))
        decisions = (decide(candidates, self.thresholds) for candidates in found)
        return [replace(decision, candidates=decision.candidates[: self._k]) for decision in decisions]
