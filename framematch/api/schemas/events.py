"""The parameters of the event stream."""

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from framematch.api.stream.positions import KINDS, MAX_ID_LENGTH
from framematch.core.events import DecisionKind
from framematch.core.timestamps import from_rfc3339

_KIND: Final = "|".join(KINDS)


def _with_offset(text: str) -> str:
    from_rfc3339(text)
    return text


Time = Annotated[str, AfterValidator(_with_offset), Field(json_schema_extra={"format": "date-time"})]


class StreamQuery(BaseModel):
    """Which events, and from where on."""

    model_config = ConfigDict(extra="forbid")

    types: str = Field(
        ",".join(KINDS),
        pattern=f"^({_KIND})(,({_KIND}))*$",
        description="which events, separated by commas",
        examples=["match,sighting"],
    )
    camera: list[str] = Field([], description="only of these cameras; may be repeated", examples=[["till-1"]])
    product: list[str] = Field([], description="only matches and sightings of these products; may be repeated")
    decision: list[DecisionKind] = Field([], description="only matches with these decisions; may be repeated")
    min_score: float | None = Field(
        None, ge=-1, le=1, description="only matches and sightings that are at least so similar"
    )
    last_event_id: str | None = Field(
        None,
        max_length=MAX_ID_LENGTH,
        description="go on behind this event; the header Last-Event-ID, which browsers send, counts before it",
    )
    since: Time | None = Field(
        None,
        description="begin with what was published at this time, if there is no event id; without both: from now on",
        examples=["2026-11-30T09:00:00+01:00"],
    )
