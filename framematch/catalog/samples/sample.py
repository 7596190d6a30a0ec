"""A picture with a known content, and how MongoDB's documents have it."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self, TypeAlias, cast, get_args

from bson.binary import Binary

from framematch.catalog.mongo import Document
from framematch.catalog.product import MAX_ID_CHARACTERS
from framematch.catalog.values import DocumentError, optional_text, required_text, shown

Label: TypeAlias = Literal["product", "stranger", "nothing"]
"""`product`: it shows a product of the catalogue; `stranger`: one that the catalogue lacks; `nothing`: none at all."""
Source: TypeAlias = Literal["folder", "reviewed"]
"""`folder`: from a folder of pictures; `reviewed`: a region of a camera's frame that a person has labelled."""

SAMPLE_FIELDS: Final = ("_id", "image", "label", "product_id", "source", "camera", "group", "at")
"""What a query has to return of a document; the picture's bytes are in the field `picture`."""


@dataclass(frozen=True)
class Sample:
    """What a picture shows, without its bytes.

    `image` is the SHA-256 of its bytes in hexadecimal. Pictures of one `group` are not independent of each other: they
    show one thing on one occasion. `camera` is None for a picture that no camera of ours has taken. `at` is when it was
    labelled, in UTC and whole milliseconds.
    """

    image: str
    label: Label
    product_id: str | None
    source: Source
    group: str
    at: datetime
    camera: str | None = None

    @property
    def id(self) -> str:
        """A picture has one sample for each label."""
        return f"{self.image}-{self.label}"


@dataclass(frozen=True)
class LabelledPicture:
    """A sample with the bytes of its picture's file."""

    sample: Sample
    data: bytes = field(repr=False)

    @classmethod
    def of(
        cls,
        data: bytes,
        label: Label,
        *,
        source: Source,
        group: str,
        product_id: str | None = None,
        camera: str | None = None,
        at: datetime | None = None,
    ) -> Self:
        """A picture that is labelled now, unless another time is given; only the label `product` has a product."""
        at = at or datetime.now(UTC)
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)  # MongoDB keeps milliseconds
        image = hashlib.sha256(data).hexdigest()
        return cls(Sample(image, label, product_id, source, group, at, camera), data)


def to_document(picture: LabelledPicture) -> Document:
    """The document of a labelled picture."""
    sample = picture.sample
    fields: dict[str, Any] = {name: getattr(sample, name) for name in SAMPLE_FIELDS if name != "_id"}
    return {"_id": sample.id, **fields, "picture": Binary(picture.data)}


def to_sample(document: Document) -> Sample:
    """The sample in a document.

    Raises:
        DocumentError: it is none of ours.
    """
    label, source = required_text(document, "label"), required_text(document, "source")
    if label not in get_args(Label):
        raise DocumentError(f"label is {shown(label)}, not one of {', '.join(get_args(Label))}")
    if source not in get_args(Source):
        raise DocumentError(f"source is {shown(source)}, not one of {', '.join(get_args(Source))}")
    product_id = optional_text(document, "product_id")
    if (product_id is None) == (label == "product"):
        raise DocumentError(f"product_id is {shown(product_id)}, with the label {label}")
    if product_id is not None and len(product_id) > MAX_ID_CHARACTERS:
        raise DocumentError(f"product_id has more than {MAX_ID_CHARACTERS} characters")
    at = document.get("at")
    if not isinstance(at, datetime):
        raise DocumentError(f"at is {shown(at)}, not a date")
    sample = Sample(
        required_text(document, "image"),
        cast("Label", label),
        product_id,
        cast("Source", source),
        required_text(document, "group"),
        at,
        optional_text(document, "camera"),
    )
    if document.get("_id") != sample.id:
        raise DocumentError("its id is not that of its picture and label")
    return sample
