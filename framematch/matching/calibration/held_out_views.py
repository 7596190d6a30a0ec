"""The catalogue's own pictures as labelled ones: each is searched for among all others.

That is weaker than pictures of the cameras: the catalogue's pictures resemble each other more than frames do. It needs
no picture that the catalogue does not have, but products with several.
"""

from collections import defaultdict
from typing import Final

import numpy as np

from framematch.catalog.snapshots.snapshot import Snapshot
from framematch.core.arrays import Embeddings
from framematch.matching.calibration.samples import MAX_CANDIDATES, SampleLabel, ScoredSample
from framematch.matching.decision import Candidate
from framematch.matching.index import ProductIndex
from framematch.matching.nothing_in_view import nothing_similarity, unless_empty

MAX_VIEWS: Final = 2_000
_BATCH = 256


def score_held_out_views(snapshot: Snapshot) -> tuple[ScoredSample, ...]:
    """Up to `MAX_VIEWS` views, each scored as a picture that the snapshot does not have. CPU-bound.

    A view counts if its product has another one with another vector, and no other product has this one.
    """
    vectors_of: dict[str, set[int]] = defaultdict(set)
    products_of: dict[int, set[str]] = defaultdict(set)
    for product_id, vector in zip(snapshot.rows.product_ids, snapshot.rows.vectors, strict=True):
        vectors_of[product_id].add(vector)
        products_of[vector].add(product_id)
    usable = [
        (product_id, vector)
        for product_id, vectors in vectors_of.items()
        if len(vectors) > 1
        for vector in sorted(vectors)
        if len(products_of[vector]) == 1
    ]
    if len(usable) > MAX_VIEWS:
        chosen = np.random.default_rng(0).choice(len(usable), MAX_VIEWS, replace=False)
        usable = [usable[number] for number in sorted(chosen)]
    index, scored = ProductIndex(snapshot), list[ScoredSample]()
    for start in range(0, len(usable), _BATCH):
        part = usable[start : start + _BATCH]
        queries = snapshot.index.read(np.array([vector for _product_id, vector in part]))
        nothing = nothing_similarity(queries, snapshot.nothing).tolist()
        for (product_id, vector), query, found, empty in zip(
            part, queries, index.search(queries, MAX_CANDIDATES + 1), nothing, strict=True
        ):
            own = _nearest_other(snapshot, query, vectors_of[product_id] - {vector})
            scored.append(_scored(product_id, vector, own, found, empty))
    return tuple(scored)


def _nearest_other(snapshot: Snapshot, query: Embeddings, vectors: set[int]) -> float:
    """The similarity of the nearest of these vectors."""
    return float((snapshot.index.read(np.array(sorted(vectors))) @ query).max())


def _scored(product_id: str, vector: int, own: float, found: tuple[Candidate, ...], nothing: float) -> ScoredSample:
    others = tuple(one for one in found if one.product_id != product_id)
    ordered = sorted([*others, Candidate(product_id, own)], key=lambda one: (-one.score, one.product_id))
    return ScoredSample(
        SampleLabel("product", f"view-{vector}", product_id),
        unless_empty(tuple(ordered[:MAX_CANDIDATES]), nothing),
        frozenset({product_id}),
        unless_empty(others[:MAX_CANDIDATES], nothing),
    )
