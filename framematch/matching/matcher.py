"""From embeddings to decisions, with one snapshot."""

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Self

from framematch.catalog.changes.delta import Delta
from framematch.catalog.snapshots.snapshot import Snapshot
from framematch.core.arrays import Embeddings
from framematch.matching.decision import Candidate, Decision, Thresholds, decide
from framematch.matching.index import ProductIndex
from framematch.matching.sketch import sketches


class Matcher:
    """Searches one snapshot and the changes since it was built; decides by its thresholds unless others are given."""

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

    def with_delta(self, delta: Delta) -> Self:
        """A matcher that searches these changes too, and shares the index. CPU-bound: call it in a thread."""
        matcher = copy.copy(self)
        matcher._index = self._index.with_delta(delta)  # noqa: SLF001  # its own class
        return matcher

    def search(
        self, embeddings: Embeddings, k: int, product_ids: frozenset[str] | None = None
    ) -> list[tuple[Candidate, ...]]:
        """The `k` nearest products of each row, as `ProductIndex.search`. CPU-bound: call it in a thread."""
        return self._index.search(embeddings, k, product_ids=product_ids)

    def nearest_picture(self, embedding: Embeddings, images: Iterable[str]) -> str | None:
        """As `ProductIndex.nearest_picture`. CPU-bound: call it in a thread."""
        return self._index.nearest_picture(embedding, images)

    def match(self, embeddings: Embeddings) -> list[Decision]:
        """A decision for each row, with `k` candidates. CPU-bound: call it in a thread."""
        found = self._index.search(embeddings, max(self._k, 2))  # the margin needs a second product
        decisions = (decide(candidates, self.thresholds) for candidates in found)
        return [
            replace(decision, candidates=decision.candidates[: self._k], sketch=sketch)
            for decision, sketch in zip(decisions, sketches(embeddings), strict=True)
        ]

    def warm_up(self) -> None:
        """Read every page of the index once, so that the first search is as fast as the others. Call it in a thread."""
        self._index.warm_up()
