"""Requests and answers of match and search; names as in the events of `match.v1`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from framematch.api.schemas.skus import Amount, Currency, SkuAnswer

PICTURES_MAX = 16
REGIONS_MAX = 64
"""Of all pictures of a request."""
TOP_K_MAX = 100

Coordinate = Annotated[int, Field(ge=0, lt=1 << 20)]
Side = Annotated[int, Field(gt=0, lt=1 << 20)]
Box = tuple[Coordinate, Coordinate, Side, Side]
TopK = Annotated[int, Field(ge=1, le=TOP_K_MAX, description="maximum number of candidates")]
Base64 = Annotated[
    str,
    Field(min_length=1, description="a JPEG, PNG, WebP, AVIF or HEIC file in Base64", examples=["/9j/4AAQSkZJRg…"]),
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PictureRequest(_Request):
    """A picture, and what of it is to be matched."""

    content: Base64
    regions: list[Box] = Field(
        [],
        max_length=REGIONS_MAX,
        description="boxes [x, y, width, height] in pixels of the upright picture; none is the whole picture",
        examples=[[[40, 30, 200, 260]]],
    )


class MatchRequest(_Request):
    """Pictures to match."""

    images: list[PictureRequest] = Field(min_length=1, max_length=PICTURES_MAX)
    top_k: TopK | None = Field(None, description="maximum number of candidates; the setting matching.top_k by default")


class PriceFilter(_Request):
    """Prices, inclusive."""

    gte: Amount | None = Field(None, examples=[0.5])
    lte: Amount | None = Field(None, examples=[2.0])


class SearchFilter(_Request):
    """What products must be like; exactly those that fit are searched."""

    category: str | None = Field(None, max_length=1_000, examples=["Apple"])
    price: PriceFilter = PriceFilter()
    attributes: dict[str, str] = Field(
        {}, max_length=16, description="exact values; of a list one of them", examples=[{"brand": "Arla"}]
    )


class SearchRequest(_Request):
    """A text or a picture to search for: one of both."""

    text: str | None = Field(None, max_length=1_000, examples=["green apple"])
    image: Base64 | None = None
    filter: SearchFilter = SearchFilter()
    top_k: TopK = 10
    min_score: float | None = Field(
        None, ge=-1, le=1, description="leave out products below it; with it the hits are shown also if none is near"
    )


class ProductAnswer(BaseModel):
    """A product as the catalogue describes it."""

    id: str = Field(examples=["granny-smith"])
    name: str = Field(examples=["Granny Smith"])
    category: str | None = Field(None, examples=["Apple"])
    price: Amount | None = Field(None, examples=[0.59])
    description: str | None = None
    attributes: dict[str, Any] = {}
    currency: Currency | None = None
    skus: list[SkuAnswer] = []


class CandidateAnswer(BaseModel):
    """A product and its cosine similarity."""

    product_id: str = Field(examples=["granny-smith"])
    score: float = Field(examples=[0.874251])


Decision = Literal["match", "ambiguous", "unknown"]
Reason = Literal["no_content", "quality", "empty", "below_threshold", "tie", "below_margin"]
MetadataState = Literal["fresh", "cached", "missing"]


class RegionAnswer(BaseModel):
    """What a region shows. `product` is there for a match alone; `reason` says why it is no match."""

    region: Box = Field(examples=[[0, 0, 640, 480]])
    decision: Decision
    reason: Reason | None = None
    product: ProductAnswer | None = None
    candidates: list[CandidateAnswer]
    score: float | None = Field(description="of the best candidate; null when it was compared with no product")
    margin: float | None = Field(description="lead over the second candidate; null without one")
    threshold: float = Field(description="the least score of a match", examples=[0.75])
    plausible: int = Field(
        0,
        description="how many of the leading candidates may be the product: 1 for a match, 0 for unknown",
        examples=[1],
    )
    quality: float | None = Field(None, description="of the picture of the region, from 0 to 1", examples=[0.93])


class PictureProblem(BaseModel):
    """Why a picture was not matched; the others were."""

    type: str = Field(examples=["/problems/invalid_picture"])
    title: str
    status: int
    detail: str = Field(examples=["the picture is not an image (JPEG, PNG, WEBP, AVIF, HEIF are known)"])
    reason: str = Field(description="a short, stable word", examples=["not_a_picture"])


class PictureAnswer(BaseModel):
    """A result or a problem: the upright size and a decision for each region, or `problem` alone."""

    width: int | None = None
    height: int | None = None
    regions: list[RegionAnswer] | None = None
    problem: PictureProblem | None = None


class ModelAnswer(BaseModel):
    """The served model that made the embeddings."""

    name: str = Field(examples=["clip-vit-base-patch32"])
    digest: str = Field(examples=["2c680495fb4cac94a1d6ab21f7906af9073c1ff257f57c45e51fa16fbc5c4d06"])


class _Answer(BaseModel):
    snapshot: str = Field(description="what was searched: a snapshot of the index", examples=["20260131T120000Z-1a2b"])
    delta: int = Field(
        description="the number of the newest single change beside it; 0 before the first", examples=[17]
    )
    metadata_state: MetadataState = Field(
        description="`cached`: MongoDB was not asked or is away; `missing`: a product's metadata are not known"
    )
    timings_ms: dict[str, float] = Field(examples=[{"decode": 2.1, "infer": 11.2, "search": 0.4, "enrich": 0.8}])


class MatchAnswer(_Answer):
    """A result for each picture, in the order of the request, all by one snapshot."""

    model: ModelAnswer
    results: list[PictureAnswer]


class HitAnswer(BaseModel):
    """A product that was found, and the SHA-256 of its picture that is nearest."""

    product: ProductAnswer
    score: float = Field(examples=[0.874251])
    reference_image: str | None = Field(
        None, examples=["192688bd20f441733092d950f442e8074757aaf45a15eaf5c5eeac269219f0c0"]
    )


class SearchAnswer(_Answer):
    """The nearest products, best first. `near` is false, and `hits` is empty, when nothing in the catalogue is near."""

    created_at: str = Field(description="when the snapshot was built", examples=["2026-01-31T12:00:00Z"])
    near: bool
    hits: list[HitAnswer]
    decision: Decision | None = Field(None, description="of a picture")
    reason: Reason | None = None
    quality: float | None = Field(None, description="of a picture, from 0 to 1")
    z_score: float | None = Field(None, description="of a text: near from 1 on")
    products_searched: int | None = Field(None, description="how many products fit the filter; null without one")


_FILE = {"type": "string", "format": "binary", "description": "a JPEG, PNG, WebP, AVIF or HEIC file"}
MATCH_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["image"],
    "additionalProperties": False,
    "properties": {
        "image": {"type": "array", "minItems": 1, "maxItems": PICTURES_MAX, "items": _FILE},
        "regions": {
            "type": "string",
            "description": "JSON: for each image a list of boxes [x, y, width, height] in pixels of the upright "
            "picture; for one image its boxes alone",
            "examples": ["[[[40, 30, 200, 260]], []]"],
        },
        "top_k": {"type": "integer", "minimum": 1, "maximum": TOP_K_MAX},
    },
}
"""The form of a match, as the document has it."""
SEARCH_FORM: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "image": _FILE,
        "text": {"type": "string", "maxLength": 1_000},
        "filter": {
            "type": "string",
            "description": "JSON, as in the other form of the body",
            "examples": ['{"category": "Apple"}'],
        },
        "top_k": {"type": "integer", "minimum": 1, "maximum": TOP_K_MAX},
        "min_score": {"type": "number", "minimum": -1, "maximum": 1},
    },
}
"""The form of a search."""
SEED_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["file"],
    "additionalProperties": False,
    "properties": {"file": _FILE},
}
"""The form of the seed's call."""


def body_of(schema: str, form: dict[str, Any]) -> dict[str, Any]:
    """The part of a route's `openapi_extra` for a body that is JSON or a form; the route reads it itself."""
    json_body = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    content = {"multipart/form-data": {"schema": form}, "application/json": json_body}
    return {"requestBody": {"required": True, "content": content}}


def body_schemas() -> dict[str, Any]:
    """The schemas that `body_of` refers to, for the components of the document."""
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (MatchRequest, "validation"), (SearchRequest, "validation")
    ]  # fmt: skip
    _, found = models_json_schema(models, ref_template="#/components/schemas/{model}")
    return dict(found["$defs"])
