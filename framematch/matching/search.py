"""Searches the catalogue by a picture or by a text, among all products or those that fit filters."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from framematch.catalog.products import Product, ProductFilter, ProductStore
from framematch.core.arrays import Embeddings
from framematch.core.errors import PictureError, UsageError
from framematch.core.events import DecisionKind, DecisionReason, MetadataState
from framematch.matching.decision import Candidate, Decision
from framematch.matching.enrich import MetadataCache
from framematch.matching.gate import PictureGate
from framematch.matching.match_pictures import Engine, Picture, match_pictures
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.matching.text_background import BACKGROUND_TEXTS, Nearness, nearness

MAX_TEXT_CHARACTERS = 1_000


class TextModel(Protocol):
    """The part of `framematch.vision.encoder.TextEncoder` that a search uses."""

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Texts -> float32 [N, D], each row of unit length."""


@dataclass(frozen=True)
class FoundProduct:
    """A product and its similarity; one that MongoDB does not have any more has only its id."""

    product: Product
    score: float
    state: MetadataState = "fresh"


@dataclass(frozen=True)
class SearchResult:
    """The nearest products, best first, also when none of them is near.

    `products_searched` is None without filters. A picture has a `decision`, by the thresholds of the snapshot, and is
    near unless it is unknown; its `quality` is from 0 to 1. A text has a `z_score`; its `score` is on another scale.
    None of them is set when no product fits the filters.
    """

    snapshot: str
    delta: int
    near: bool
    products: tuple[FoundProduct, ...]
    products_searched: int | None = None
    decision: DecisionKind | None = None
    reason: DecisionReason | None = None
    quality: float | None = None
    z_score: float | None = None
    query: Embeddings | None = field(default=None, compare=False, repr=False)
    """The embedding float32 [D] of what was searched for."""


@dataclass(frozen=True)
class Catalogue:
    """What is searched, and how."""

    served: ServedSnapshot
    store: ProductStore
    metadata: MetadataCache
    engine: Engine

    async def result(
        self, candidates: Sequence[Candidate], *, near: bool, searched: int | None, decision: Decision | None = None,
        z_score: float | None = None, query: Embeddings | None = None,
    ) -> SearchResult:  # fmt: skip
        """The result with the products' metadata."""
        known = await self.metadata.lookup([one.product_id for one in candidates]) if candidates else {}
        found = tuple(
            FoundProduct(
                known[one.product_id].product or Product(one.product_id, one.product_id),
                one.score,
                known[one.product_id].state,
            )
            for one in candidates
        )
        kind, reason, quality = (decision.kind, decision.reason, decision.quality) if decision else (None, None, None)
        snapshot, delta = self.served.manifest.id, self.served.delta
        return SearchResult(snapshot, delta, near, found, searched, kind, reason, quality, z_score, query)


class TextSearch:
    """A text model, and the embeddings of the background texts, which are made once."""

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self._background: Embeddings | None = None

    async def embed(self, text: str) -> Embeddings:
        """The embeddings of the text, in the first row, and of the background texts.

        Raises:
            TritonUnavailableError, EmbeddingError: as of the model.
        """
        if self._background is None:
            self._background = await self._model.embed(BACKGROUND_TEXTS)
        return np.concatenate([await self._model.embed([text]), self._background])


async def search_by_picture(
    catalogue: Catalogue, data: bytes, *, top_k: int, products: ProductFilter, gate: PictureGate
) -> SearchResult:
    """The products that look like the picture in a file, decided as a frame is.

    Raises:
        PictureError: the bytes are no picture; the message completes "the picture …".
        UnavailableError: Triton or MongoDB does not answer.
        ModelError, CatalogError: the model or a document cannot be used.
    """
    served = catalogue.served
    among = await catalogue.store.ids_of(products)
    searched = None if among is None else len(among)
    [found] = await match_pictures(catalogue.engine, served, [Picture(data)], top_k=top_k, gate=gate, among=among)
    if isinstance(found, PictureError):
        raise found
    decision, query = found.regions[0].decision, found.regions[0].embedding
    if not decision.candidates and query is not None:
        return await catalogue.result((), near=False, searched=searched)
    near = decision.kind != "unknown"
    hits = decision.candidates[:top_k]  # a set of plausible products may be larger
    return await catalogue.result(hits, near=near, searched=searched, decision=decision, query=query)


async def search_by_text(
    catalogue: Catalogue, texts: TextSearch, text: str, *, top_k: int, products: ProductFilter
) -> SearchResult:
    """The products whose pictures fit a text.

    Raises:
        UsageError: the text is empty or too long.
        UnavailableError: Triton or MongoDB does not answer.
        ModelError, CatalogError: the model or a document cannot be used.
    """
    text = checked_text(text)
    among = await catalogue.store.ids_of(products)
    searched = None if among is None else len(among)
    rows = await texts.embed(text)
    found = await catalogue.engine.nearest(catalogue.served, rows, top_k, among)
    if not found[0]:
        return await catalogue.result((), near=False, searched=searched)
    compared = compare_with_background(found)
    return await catalogue.result(
        found[0], near=compared.near, searched=searched, z_score=compared.z_score, query=rows[0]
    )


def compare_with_background(found: Sequence[Sequence[Candidate]]) -> Nearness:
    """Compare the best product of the first query with those of the others, which are the background texts."""
    best = [candidates[0].score for candidates in found]
    return nearness(best[0], np.array(best[1:], np.float64))


def checked_text(text: str) -> str:
    """The text in one line.

    Raises:
        UsageError: it is empty or too long.
    """
    text = " ".join(text.split())
    if not text:
        raise UsageError("the text is empty", hint='Describe a product: "green apple"')
    if len(text) > MAX_TEXT_CHARACTERS:
        raise UsageError(
            f"the text has {len(text)} characters, more than {MAX_TEXT_CHARACTERS}", hint="Describe one product"
        )
    return text
