"""Answers of match and search, as the schemas describe them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from framematch.api.problems import to_problem
from framematch.catalog.product import Product
from framematch.core.errors import PictureError
from framematch.core.events import SIMILARITY_DIGITS, MetadataState, similarity
from framematch.matching.decision import Decision, Thresholds
from framematch.matching.enrich import Metadata
from framematch.matching.match_pictures import DecidedPicture, DecidedRegion
from framematch.matching.search import SearchResult
from framematch.matching.serving.served_snapshot import ServedSnapshot

_WORST_FIRST: tuple[MetadataState, ...] = ("missing", "cached", "fresh")


def matched_products(results: Iterable[DecidedPicture | PictureError]) -> set[str]:
    """The products whose metadata an answer needs."""
    decisions = (one.decision for found in results if isinstance(found, DecidedPicture) for one in found.regions)
    return {decision.candidates[0].product_id for decision in decisions if decision.kind == "match"}


def match_answer(
    served: ServedSnapshot,
    results: Sequence[DecidedPicture | PictureError],
    metadata: Mapping[str, Metadata],
    timings_ms: Mapping[str, float],
) -> dict[str, Any]:
    """A `MatchAnswer`."""
    thresholds = served.matcher.thresholds
    return {
        "snapshot": served.manifest.id,
        "delta": served.delta,
        "model": {"name": served.model.name, "digest": served.model.digest},
        "results": [_picture(one, metadata, thresholds) for one in results],
        "metadata_state": worst_state(one.state for one in metadata.values()),
        "timings_ms": timings_ms,
    }


def search_answer(
    served: ServedSnapshot,
    result: SearchResult,
    *,
    min_score: float | None,
    reference_images: Mapping[str, str | None],
    timings_ms: Mapping[str, float],
) -> dict[str, Any]:
    """A `SearchAnswer`. Without `min_score` there are hits only if something is near."""
    shown = result.products if result.near or min_score is not None else ()
    hits = [one for one in shown if min_score is None or one.score >= min_score]
    return {
        "snapshot": result.snapshot,
        "created_at": served.manifest.created_at,
        "delta": result.delta,
        "near": result.near,
        "hits": [
            {
                "product": product_answer(one.product),
                "score": similarity(one.score),
                "reference_image": reference_images.get(one.product.id),
            }
            for one in hits
        ],
        "decision": result.decision,
        "reason": result.reason,
        "quality": result.quality,
        "z_score": None if result.z_score is None else round(result.z_score, 3),
        "products_searched": result.products_searched,
        "metadata_state": worst_state(one.state for one in hits),
        "timings_ms": timings_ms,
    }


def product_answer(product: Product) -> dict[str, Any]:
    """A `ProductAnswer`."""
    return {
        "id": product.id,
        "name": product.name,
        "category": product.category,
        "price": product.price,
        "description": product.description,
        "attributes": product.attributes,
        "currency": product.currency,
        "skus": product.skus,
    }


def worst_state(states: Iterable[MetadataState]) -> MetadataState:
    """The state that a client has to know of."""
    found = set(states)
    return next((state for state in _WORST_FIRST if state in found), "fresh")


def _picture(
    found: DecidedPicture | PictureError, metadata: Mapping[str, Metadata], thresholds: Thresholds
) -> dict[str, Any]:
    if isinstance(found, PictureError):
        problem = to_problem(found)
        return {
            "problem": {
                "type": f"/problems/{problem.code}",
                "title": "Bad Request",
                "status": problem.status,
                "detail": problem.message,
                "reason": found.reason,
            }
        }
    return {
        "width": found.width,
        "height": found.height,
        "regions": [_region(one, metadata, thresholds) for one in found.regions],
    }


def _region(found: DecidedRegion, metadata: Mapping[str, Metadata], thresholds: Thresholds) -> dict[str, Any]:
    decision = found.decision
    return {
        "region": found.region,
        "decision": decision.kind,
        "reason": decision.reason,
        "product": _product(decision, metadata),
        "candidates": [{"product_id": one.product_id, "score": similarity(one.score)} for one in decision.candidates],
        "score": None if decision.score is None else similarity(decision.score),
        "margin": None if decision.margin is None else round(decision.margin, SIMILARITY_DIGITS),
        "threshold": round(thresholds.match_for(decision.candidates), SIMILARITY_DIGITS),
        "plausible": decision.plausible,
        "quality": decision.quality,
    }


def _product(decision: Decision, metadata: Mapping[str, Metadata]) -> dict[str, Any] | None:
    """The matched product; only its id when its metadata are not available."""
    if decision.kind != "match":
        return None
    best = decision.candidates[0].product_id
    return product_answer(metadata[best].product or Product(best, best))
