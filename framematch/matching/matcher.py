"""From embeddings to decisions, with one snapshot."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, Self

from framematch.catalog.changes.delta import Delta
from framematch.catalog.snapshots.snapshot import Snapshot
from framematch.core.arrays import Embeddings
from framematch.matching.decision import MAX_PLAUSIBLE, MIN_LEAD, Candidate, Decision, Thresholds
from framematch.matching.index import Close, ProductIndex
from framematch.matching.nothing_in_view import decide_unless_empty, nothing_similarity
from framematch.matching.sketch import sketches

_MARGIN_PRODUCTS: Final = 2  # a margin needs the second product
_ROUNDING: Final = 1e-9  # of differences of similarities: rather one candidate more


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
            match_of=_match_of(snapshot) if match_threshold is None else {},
        )
        self._k = k
        self._index = ProductIndex(snapshot)
        self._nothing = snapshot.nothing

    @property
    def products(self) -> int:
        """How many products are searched, those of the changes included."""
        return self._index.products

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
        """A decision for each row, with `k` candidates and all plausible ones. CPU-bound: call it in a thread."""
        limits = self.thresholds
        close = Close(limits.lowest_match, max(limits.margin, MIN_LEAD) + _ROUNDING, MAX_PLAUSIBLE)
        found = self._index.search(embeddings, max(self._k, _MARGIN_PRODUCTS), close=close)
        decisions = self.decide(found, embeddings, self._k)
        return [
            replace(decision, sketch=sketch) for decision, sketch in zip(decisions, sketches(embeddings), strict=True)
        ]

    def decide(self, found: Sequence[Sequence[Candidate]], embeddings: Embeddings, k: int) -> list[Decision]:
        """A decision for each row, whose nearest products were found: with `k` of them, and all plausible ones."""
        nothing = nothing_similarity(embeddings, self._nothing).tolist()
        return [
            decide_unless_empty(candidates, similarity, self.thresholds, k)
            for candidates, similarity in zip(found, nothing, strict=True)
        ]

    def warm_up(self) -> None:
        """Read every page of the index once, so that the first search is as fast as the others. Call it in a thread."""
        self._index.warm_up()


def _match_of(snapshot: Snapshot) -> dict[str, float]:
    """The minimum similarity of each product whose category has one of its own."""
    calibration = snapshot.manifest.calibration
    matches = {one.category: one.match for one in calibration.categories} if calibration else {}
    if not matches:
        return {}
    categories = snapshot.rows.category_of_products(matches)
    return {product_id: matches[category] for product_id, category in categories.items()}
