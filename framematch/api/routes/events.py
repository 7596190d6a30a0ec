"""The event stream."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request

from framematch.api.access.policy import access
from framematch.api.access.principal import Principal
from framematch.api.problems import FieldProblem, Problem
from framematch.api.schemas.events import StreamQuery
from framematch.api.schemas.problem import problems
from framematch.api.services import CurrentPrincipal, CurrentServices
from framematch.api.stream.events import Wanted
from framematch.api.stream.hub import EventHub
from framematch.api.stream.positions import InvalidEventIdError, Positions
from framematch.api.stream.response import EventStreamResponse
from framematch.core.timestamps import from_rfc3339
from framematch.core.units import US_PER_MS

router = APIRouter(tags=["events"])

_EXAMPLE = """\
retry: 2000
id: AQAAAAAADAAAAAAAAAAAAAAAAA

event: match
data: {"schema":"match.v1","id":"9eedae58-b1d6-501e-8807-9c9bb7fe205f","decision":"match"}
id: AQAAAAAADAEAAAAAAAAAAAAAAA

: ping

"""
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events without an end, as server-sent events.",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
    }
}


@router.get(
    "/v1/events/stream",
    summary="Follow the events",
    openapi_extra=access("read"),
    status_code=200,
    response_class=EventStreamResponse,
    responses=_STREAM | problems(429, 503),
)
async def stream_events(
    request: Request,
    services: CurrentServices,
    principal: CurrentPrincipal,
    query: Annotated[StreamQuery, Query()],
    last_event_id: Annotated[str | None, Header(description="the id of the last event that the client has")] = None,
) -> EventStreamResponse:
    """Match events, sightings and camera status as they are published, each as the JSON of its topic.

    Each event has an `id`: send the last one as `Last-Event-ID`, as browsers do, and the stream goes on behind it, with
    nothing lost or repeated. An event `gap` says how many events are missing because Kafka has deleted them meanwhile,
    `reset` that a topic was created anew, `end` why the service ends the stream.
    """
    api = services.settings.api

    async def check() -> None:
        client = request.client.host if request.client else ""
        present = await services.access.authenticator.authenticate(request.headers, client)
        if not present.may("read") or present.cameras != principal.cameras:
            raise Problem(403, "forbidden", "what the key may do has changed")

    start = await _start(services.events, query, last_event_id)
    follower = services.events.follow(_wanted(query, principal), start)
    return EventStreamResponse(
        services.events, follower, check=check, stop=services.stop, send_timeout_s=api.stream_send_timeout_s
    )


async def _start(hub: EventHub, query: StreamQuery, header: str | None) -> Positions:
    if event_id := header or query.last_event_id:
        try:
            start = Positions.decode(event_id)
        except InvalidEventIdError as error:
            where = "header last-event-id" if header else "query parameter last_event_id"
            text = f"it is no event id of this stream: {error}"
            raise Problem(
                400, "invalid_event_id", f"{where}: {text}", hint="Leave it out, or give `since`",
                errors=[FieldProblem(where, text)],
            ) from None  # fmt: skip
        await hub.now()  # before the ring has a position, nothing can be compared with it
        return start
    if query.since is not None:
        return await hub.since(from_rfc3339(query.since) // US_PER_MS)
    return await hub.now()


def _wanted(query: StreamQuery, principal: Principal) -> Wanted:
    return Wanted(
        frozenset(query.types.split(",")),
        frozenset(query.camera),
        frozenset(query.product),
        frozenset(query.decision),
        query.min_score,
        None if principal.sees_all else principal.sees,
    )
