"""Labelled pictures, and what a search of a snapshot finds for them: all that a calibration looks at."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from framematch.catalog.snapshots.snapshot import RowTable, Snapshot
from framematch.core.arrays import Embeddings
from framematch.matching.decision import MAX_PLAUSIBLE, Candidate
from framematch.matching.index import ProductIndex
from framematch.matching.nothing_in_view import nothing_similarity, unless_empty

SampleKind = Literal["product", "stranger", "nothing"]

MAX_CANDIDATES: Final = MAX_PLAUSIBLE
_BATCH = 256


@dataclass(frozen=True)
class SampleLabel:
    """What a person says that a picture shows: a product of the catalogue, one that it lacks, or none.

    Pictures of one `group` are not independent of each other: those of a sighting or a visit.
    """

    kind: SampleKind
    group: str
    product_id: str | None = None


@dataclass(frozen=True)
class ScoredSample:
    """A labelled picture and its nearest products, best first.

    `shows` are the products that it shows: the one of the label and those that share a picture with it, as nothing can
    tell these apart; empty for an impostor. `candidates` are up to `MAX_CANDIDATES`; without any, no threshold accepts
    the picture. `siblings`, for a picture of a product, are the candidates of a search without `shows`.
    """

    label: SampleLabel
    candidates: tuple[Candidate, ...]
    shows: frozenset[str] = frozenset()
    siblings: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class SampleScores:
    """The scored samples of one snapshot with so many products.

    `categories` has the category of each product that has one; empty if the snapshot does not tell.
    """

    samples: tuple[ScoredSample, ...]
    products: int
    categories: Mapping[str, str] = field(default_factory=dict)


def score_samples(snapshot: Snapshot, embeddings: Embeddings, labels: Sequence[SampleLabel]) -> SampleScores:
    """Search the snapshot, by the index that serves, for each row of `embeddings`, float32 [N, D]. CPU-bound.

    A picture of a product that the snapshot lacks is one of a stranger. One that is decided to show an empty scene has
    no candidates. Changes since the snapshot are not searched.
    """
    shared = _products_that_share_a_picture(snapshot.rows, {one.product_id for one in labels if one.product_id})
    shown = [_shown(label, shared) for label in labels]
    wanted = MAX_CANDIDATES + max(map(len, shown), default=0)
    index = ProductIndex(snapshot)
    found: list[tuple[Candidate, ...]] = []
    for start in range(0, len(embeddings), _BATCH):
        found += index.search(np.ascontiguousarray(embeddings[start : start + _BATCH], np.float32), wanted)
    nothing = nothing_similarity(np.asarray(embeddings, np.float32), snapshot.nothing).tolist()
    samples = map(_scored, labels, shown, found, nothing)
    return SampleScores(tuple(samples), snapshot.manifest.products, snapshot.rows.category_of_products())


def _scored(label: SampleLabel, shows: frozenset[str], found: tuple[Candidate, ...], nothing: float) -> ScoredSample:
    if label.kind == "product" and not shows:
        label = SampleLabel("stranger", label.group, label.product_id)
    others = tuple(candidate for candidate in found if candidate.product_id not in shows)[:MAX_CANDIDATES]
    siblings = unless_empty(others, nothing) if shows else ()
    return ScoredSample(label, unless_empty(found[:MAX_CANDIDATES], nothing), shows, siblings)


def _shown(label: SampleLabel, shared: Mapping[str, frozenset[str]]) -> frozenset[str]:
    if label.kind != "product" or label.product_id is None:
        return frozenset()
    return shared.get(label.product_id, frozenset())


def _products_that_share_a_picture(rows: RowTable, product_ids: AbstractSet[str]) -> dict[str, frozenset[str]]:
    """For each of these products that the snapshot has: those that have one of its vectors, itself among them."""
    vectors: dict[str, set[int]] = {}
    for product_id, vector in zip(rows.product_ids, rows.vectors, strict=True):
        if product_id in product_ids:
            vectors.setdefault(product_id, set()).add(vector)
    products: dict[int, set[str]] = {vector: set() for found in vectors.values() for vector in found}
    for product_id, vector in zip(rows.product_ids, rows.vectors, strict=True):
        if vector in products:
            products[vector].add(product_id)
    return {
        product_id: frozenset().union(*(products[vector] for vector in found)) for product_id, found in vectors.items()
    }
