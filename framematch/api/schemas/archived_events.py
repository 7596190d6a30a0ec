"""What the lists of archived events are asked for, and how they answer."""

from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from framematch.api.paging import PAGE_SIZE, PAGE_SIZE_MAX
from framematch.core.events import DecisionKind, LogLevel, SightingKind, json_schema
from framematch.core.timestamps import from_rfc3339

_MAX_VALUES = 100
_MAX_CHARACTERS = 200


def _valid_time(text: str) -> str:
    from_rfc3339(text)  # a naive time, too, is a ValueError
    return text


Name = Annotated[str, Field(min_length=1, max_length=_MAX_CHARACTERS)]
Names = Annotated[list[Name], Len(max_length=_MAX_VALUES)]
Time = Annotated[str, AfterValidator(_valid_time), Field(max_length=40, examples=["2026-01-31T12:00:00+01:00"])]


class EventQuery(BaseModel):
    """What all lists of events have in common. A filter with several values selects what has any of them."""

    model_config = ConfigDict(extra="forbid")

    since: Time | None = Field(None, description="from this time on: RFC 3339 with an offset")
    until: Time | None = Field(None, description="before this time")
    page_size: int = Field(PAGE_SIZE, ge=1, le=PAGE_SIZE_MAX)
    page_token: str | None = Field(None, max_length=2000, description="`next_page_token` of the page before")


class SeenQuery(EventQuery):
    """What lists about cameras have in common."""

    camera: Names = Field([], description="ids of cameras")
    product: Names = Field([], description="ids of products")
    min_score: float | None = Field(None, ge=-1, le=1, description="lowest similarity")
    order: Literal["captured", "arrival"] = Field(
        "captured",
        description="`captured`: newest first. `arrival`: in the order in which they were stored, for whoever polls",
    )


class MatchQuery(SeenQuery):
    """Which match events."""

    decision: list[DecisionKind] = Field([], max_length=_MAX_VALUES)


class SightingQuery(SeenQuery):
    """Which sightings."""

    kind: list[SightingKind] = Field([], max_length=_MAX_VALUES, description="their newest state")


class LogQuery(EventQuery):
    """Which log events."""

    service: Names = Field([], description="edge, consumer, api, archive")
    level: list[LogLevel] = Field([], max_length=_MAX_VALUES)
    event: Names = Field([], description="names of events")
    camera: Names = Field([], description="ids of cameras")
    order: Literal["logged", "arrival"] = Field("logged", description="as of matches; `logged`: newest first")


def event_answer(schema: str, about: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with one event of this schema."""
    return _answer(_schema(schema), about)


def page_answer(schema: str, about: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with a page of events of this schema."""
    token = {
        "type": ["string", "null"],
        "examples": ["2pVbXcHkTq9nJmZr0L4sDFsxNzY3MjI1NjAwMDAwMDAwLCI5ZWVkYWU1OCJd"],
        "description": "For the next page; null at the end. With `order=arrival` there always is one.",
    }
    properties = {"items": {"type": "array", "items": _schema(schema)}, "next_page_token": token}
    return _answer({"type": "object", "required": list(properties), "properties": properties}, about)


def _answer(schema: dict[str, Any], about: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": about, "content": {"application/json": {"schema": schema}}}}


def _schema(name: str) -> dict[str, Any]:
    return {key: value for key, value in json_schema(name).items() if not key.startswith("$")}
