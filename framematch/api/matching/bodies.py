"""Reads the bodies of match and search: JSON with pictures in Base64, or a form with files. Large ones take CPU."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from framematch.api.multipart import Part, is_form, read_form
from framematch.api.problems import FieldProblem, Problem
from framematch.api.schemas.match import (
    PICTURES_MAX,
    REGIONS_MAX,
    Box,
    MatchRequest,
    SearchFilter,
    SearchRequest,
)
from framematch.catalog.product import ProductFilter
from framematch.core.frames import Region
from framematch.matching.match_pictures import Picture

_JSON: Final = "application/json"
_HINT: Final = "See /docs for what is allowed"
_BOXES: TypeAdapter[list[Box]] = TypeAdapter(list[Box])
_BOXES_OF_EACH: TypeAdapter[list[list[Box]]] = TypeAdapter(list[list[Box]])
_DATA_URL: Final = "data:"

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class MatchBody:
    """What is to be matched."""

    pictures: tuple[Picture, ...]
    top_k: int | None

    @property
    def slots(self) -> int:
        """How many crops the model gets."""
        return sum(max(1, len(picture.regions)) for picture in self.pictures)


@dataclass(frozen=True)
class SearchBody:
    """What is searched for: a text or a picture."""

    text: str | None
    picture: Picture | None
    products: ProductFilter
    top_k: int
    min_score: float | None


def read_match(content_type: str, body: bytes) -> MatchBody:
    """The body of a match.

    Raises:
        Problem: 400, it is not valid; 415, it is of another type.
    """
    if is_form(content_type):
        found = _match_form(read_form(content_type, body, files={"image": PICTURES_MAX}))
    else:
        request = _validated(MatchRequest, _json(content_type, body))
        found = MatchBody(
            tuple(
                Picture(_from_base64(one.content, f"/images/{number}/content"), tuple(one.regions))
                for number, one in enumerate(request.images)
            ),
            request.top_k,
        )
    if sum(len(picture.regions) for picture in found.pictures) > REGIONS_MAX:
        raise invalid("/images", f"should have at most {REGIONS_MAX} regions in all")
    return found


def read_search(content_type: str, body: bytes) -> SearchBody:
    """The body of a search; errors as of `read_match`."""
    picture = None
    if is_form(content_type):
        parts = read_form(content_type, body, files={"image": 1})
        fields = _fields(parts, {"image", "text", "filter", "top_k", "min_score"})
        values: dict[str, Any] = {name: _value(name, text, "text") for name, text in fields.items()}
        request = _validated(SearchRequest, values)
        picture = next((Picture(part.data) for part in parts if part.name == "image"), None)
    else:
        request = _validated(SearchRequest, _json(content_type, body))
        if request.image is not None:
            picture = Picture(_from_base64(request.image, "/image"))
    if (request.text is None) == (picture is None):
        raise invalid("/text", "give either a text or an image")
    return SearchBody(request.text, picture, _filter(request.filter), request.top_k, request.min_score)


def read_file(content_type: str, body: bytes) -> MatchBody:
    """The form of the seed's call: one part `file`."""
    if not is_form(content_type):
        raise Problem(415, "unsupported_media_type", "the body is no form", hint="Send it as `curl -F file=@photo.jpg`")
    parts = read_form(content_type, body, files={"file": 1})
    _fields(parts, {"file"})
    pictures = tuple(Picture(part.data) for part in parts)
    if not pictures:
        raise invalid("/file", "is missing")
    return MatchBody(pictures, None)


def invalid(pointer: str, detail: str) -> Problem:
    """The problem of one part of a body."""
    return _problem([FieldProblem(pointer, detail)])


def _match_form(parts: Sequence[Part]) -> MatchBody:
    fields = _fields(parts, {"image", "regions", "top_k"})
    files = [part.data for part in parts if part.name == "image"]
    if not files:
        raise invalid("/image", "is missing")
    boxes = _boxes(fields["regions"], len(files)) if "regions" in fields else [()] * len(files)
    top_k = None
    if "top_k" in fields:
        top_k = _validated(MatchRequest, {"images": [{"content": "-"}], "top_k": fields["top_k"]}).top_k
    return MatchBody(tuple(map(Picture, files, boxes)), top_k)


def _boxes(text: str, pictures: int) -> list[tuple[Region, ...]]:
    """The regions of each picture: a list for each, or of one picture a list of boxes."""
    try:
        if pictures == 1:
            value = json.loads(text)
            flat = isinstance(value, list) and bool(value) and not _is_list_of_lists(value[0])
            each = [_BOXES.validate_python(value)] if flat else _BOXES_OF_EACH.validate_python(value)
        else:
            each = _BOXES_OF_EACH.validate_json(text)
    except (ValidationError, ValueError, RecursionError):
        raise invalid("/regions", "should be JSON: a list of boxes [x, y, width, height] for each image") from None
    if len(each) != pictures:
        raise invalid("/regions", f"has {len(each)} lists for {pictures} images")
    return [tuple(boxes) for boxes in each]


def _is_list_of_lists(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, list) for one in value)


def _fields(parts: Sequence[Part], known: set[str]) -> dict[str, str]:
    """The texts of the parts that are no files."""
    found: dict[str, str] = {}
    for part in parts:
        if part.name not in known:
            raise invalid(f"/{part.name[:100]}", f"is not known; known are {', '.join(sorted(known))}")
        if part.name in ("image", "file"):
            continue
        if part.name in found:
            raise invalid(f"/{part.name}", "is there twice")
        try:
            found[part.name] = part.data.decode()
        except UnicodeDecodeError:
            raise invalid(f"/{part.name}", "is not UTF-8") from None
    return found


def _value(name: str, text: str, *texts: str) -> Any:
    """The value of a field of a form: JSON, or the text itself."""
    if name in texts:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise invalid(f"/{name}", "is not JSON") from None


def _json(content_type: str, body: bytes) -> Any:
    if content_type.partition(";")[0].strip().lower() != _JSON:
        raise Problem(
            415, "unsupported_media_type", f"the body is neither {_JSON} nor multipart/form-data",
            hint="Set the header Content-Type",
        )  # fmt: skip
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise invalid("", "the body is not JSON") from None


def _validated(model: type[Model], value: Any) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _problem(
            [
                FieldProblem("/" + "/".join(map(str, one["loc"])), one["msg"][:1].lower() + one["msg"][1:])
                for one in error.errors(include_url=False, include_context=False, include_input=False)
            ]
        ) from None


def _problem(errors: Sequence[FieldProblem]) -> Problem:
    first = errors[0]
    text = f"{first.pointer}: {first.detail}" if first.pointer else first.detail
    return Problem(400, "invalid_request", text, hint=_HINT, errors=errors)


def _from_base64(text: str, pointer: str) -> bytes:
    """The bytes; a data URL and line breaks, as many tools write them, are taken too."""
    if text.startswith(_DATA_URL):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise invalid(pointer, "is not Base64") from None


def _filter(wanted: SearchFilter) -> ProductFilter:
    return ProductFilter(wanted.category, wanted.price.gte, wanted.price.lte, tuple(wanted.attributes.items()))
