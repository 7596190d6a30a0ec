"""A decided region that is kept for a person, and how MongoDB's documents have it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast, get_args

from bson.binary import Binary

from framematch.catalog.mongo import Document
from framematch.catalog.samples.sample import Label
from framematch.catalog.values import DocumentError, optional_text, required_text, shown, whole_number
from framematch.core.events import DecisionKind, MatchEvent
from framematch.core.timestamps import from_rfc3339
from framematch.review.strata import STRATA, Offered, Stratum

FIELDS: Final = (
    "_id", "camera", "hour", "stratum", "key", "group", "captured_at", "decision", "reason", "score", "threshold",
    "candidates", "snapshot", "image", "label",
)  # fmt: skip
"""What a query has to return of a document; the picture's bytes are in the field `picture`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CANDIDATES = 20


@dataclass(frozen=True)
class GivenLabel:
    """What a person says that a picture shows; only the label `product` has a product."""

    label: Label
    product_id: str | None = None

    def __str__(self) -> str:
        return f"product {self.product_id}" if self.label == "product" else self.label


@dataclass(frozen=True)
class ReviewPicture:
    """What was decided of a region, without its pixels. `id` is that of the event.

    `image` is the SHA-256 of the picture's bytes in hexadecimal. `candidates` are ids and similarities, the best first.
    """

    id: str
    camera: str
    hour: int
    stratum: Stratum
    key: int
    group: str
    captured_at: datetime
    decision: DecisionKind
    reason: str | None
    score: float
    threshold: float
    candidates: tuple[tuple[str, float], ...]
    snapshot: str
    image: str
    label: GivenLabel | None = None

    @property
    def best_product(self) -> str | None:
        """The most similar product, whatever was decided."""
        return self.candidates[0][0] if self.candidates else None


def new_document(event: MatchEvent, place: Offered, image: str, picture: bytes) -> Document:
    """The document of a region that nobody has labelled yet; `picture` is a JPEG, `image` its SHA-256."""
    return {
        "_id": event.id,
        "camera": place.camera,
        "hour": place.hour,
        "stratum": place.stratum,
        "key": place.key,
        "group": place.group,
        "captured_at": _EPOCH + timedelta(microseconds=from_rfc3339(event.frame.captured_at)),
        "stored_at": datetime.now(UTC),
        "decision": event.decision,
        "reason": event.reason,
        "score": event.score,
        "threshold": event.threshold,
        "candidates": [{"product_id": one.product_id, "score": one.score} for one in event.candidates[:_CANDIDATES]],
        "snapshot": event.snapshot,
        "model": {"name": event.model.name, "digest": event.model.digest},
        "frame": {"id": event.frame.id, "partition": event.frame.partition, "offset": event.frame.offset},
        "region": list(event.region),
        "image": image,
        "picture": Binary(picture),
        "label": None,
    }


def label_field(given: GivenLabel, at: datetime) -> Document:
    """The field `label` of a document."""
    return {"label": given.label, "product_id": given.product_id, "at": at}


def to_picture(document: Mapping[str, Any]) -> ReviewPicture:
    """The region in a document.

    Raises:
        DocumentError: it is none of ours.
    """
    captured_at = document.get("captured_at")
    if not isinstance(captured_at, datetime):
        raise DocumentError(f"captured_at is {shown(captured_at)}, not a date")
    return ReviewPicture(
        id=required_text(document, "_id"),
        camera=required_text(document, "camera"),
        hour=whole_number(document, "hour"),
        stratum=cast("Stratum", _one_of(document, "stratum", STRATA)),
        key=whole_number(document, "key"),
        group=required_text(document, "group"),
        captured_at=captured_at,
        decision=cast("DecisionKind", _one_of(document, "decision", get_args(DecisionKind))),
        reason=optional_text(document, "reason"),
        score=_number(document, "score"),
        threshold=_number(document, "threshold"),
        candidates=_candidates(document.get("candidates")),
        snapshot=required_text(document, "snapshot"),
        image=required_text(document, "image"),
        label=_label(document.get("label")),
    )


def _one_of(document: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    if (value := required_text(document, name)) not in known:
        raise DocumentError(f"{name} is {shown(value)}, not one of {', '.join(known)}")
    return value


def _number(document: Mapping[str, Any], name: str) -> float:
    value = document.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise DocumentError(f"{name} is {shown(value)}, not a number")
    return float(value)


def _candidates(value: object) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise DocumentError(f"candidates is {shown(value)}, not a list of objects")
    return tuple((required_text(one, "product_id"), _number(one, "score")) for one in value)


def _label(value: object) -> GivenLabel | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise DocumentError(f"label is {shown(value)}, not an object")
    label = cast("Label", _one_of(value, "label", get_args(Label)))
    product_id = optional_text(value, "product_id")
    if (product_id is None) == (label == "product"):
        raise DocumentError(f"label.product_id is {shown(product_id)}, with the label {label}")
    return GivenLabel(label, product_id)
