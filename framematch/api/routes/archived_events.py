"""Archived match events, sightings and log events."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from framematch.api.access.policy import access
from framematch.api.access.principal import Principal
from framematch.api.problems import Problem
from framematch.api.schemas.archived_events import (
    EventQuery,
    LogQuery,
    MatchQuery,
    SightingQuery,
    event_answer,
    page_answer,
)
from framematch.api.schemas.problem import problems
from framematch.api.services import CurrentPrincipal, CurrentServices, Services
from framematch.archive.entries import CollectionName
from framematch.archive.queries import ArchiveQueries, Order, Wanted
from framematch.core.events import LOG_SCHEMA, MATCH_SCHEMA, SIGHTING_SCHEMA
from framematch.core.timestamps import from_rfc3339

router = APIRouter(tags=["events"])
_READ = access("read")


@router.get(
    "/v1/matches",
    summary="List match events",
    openapi_extra=_READ,
    response_class=Response,
    responses={**page_answer(MATCH_SCHEMA, "Match events as they were published."), **problems(503)},
)
async def list_matches(
    services: CurrentServices, principal: CurrentPrincipal, query: Annotated[MatchQuery, Query()]
) -> Response:
    """Archived match events of the cameras that you may see."""
    values = {"camera": query.camera, "product": query.product, "decision": query.decision}
    return await _page(services, "matches", query, _wanted(query, values, principal, query.min_score), query.order)


@router.get(
    "/v1/matches/{event_id}",
    summary="Get a match event",
    openapi_extra=_READ,
    response_class=Response,
    responses={**event_answer(MATCH_SCHEMA, "The event as it was published."), **problems(404, 503)},
)
async def get_match(services: CurrentServices, principal: CurrentPrincipal, event_id: str) -> Response:
    """The event with this id."""
    return await _one(services, "matches", event_id, principal)


@router.get(
    "/v1/sightings",
    summary="List sightings",
    openapi_extra=_READ,
    response_class=Response,
    responses={**page_answer(SIGHTING_SCHEMA, "The newest event of each sighting."), **problems(503)},
)
async def list_sightings(
    services: CurrentServices, principal: CurrentPrincipal, query: Annotated[SightingQuery, Query()]
) -> Response:
    """Archived sightings of the cameras that you may see, each once, in its newest state; by when they started."""
    values = {"camera": query.camera, "product": query.product, "kind": query.kind}
    return await _page(services, "sightings", query, _wanted(query, values, principal, query.min_score), query.order)


@router.get(
    "/v1/sightings/{sighting_id}",
    summary="Get a sighting",
    openapi_extra=_READ,
    response_class=Response,
    responses={**event_answer(SIGHTING_SCHEMA, "The newest event of the sighting."), **problems(404, 503)},
)
async def get_sighting(services: CurrentServices, principal: CurrentPrincipal, sighting_id: str) -> Response:
    """The newest state of the sighting with this id: the field `sighting` of its events."""
    return await _one(services, "sightings", sighting_id, principal)


@router.get(
    "/v1/logs",
    summary="List log events",
    openapi_extra=access("admin"),
    response_class=Response,
    responses={**page_answer(LOG_SCHEMA, "Log events as they were published."), **problems(503)},
)
async def list_logs(services: CurrentServices, query: Annotated[LogQuery, Query()]) -> Response:
    """Archived log events of the services that publish them (setting `log.topic`)."""
    values = {"service": query.service, "level": query.level, "name": query.event, "camera": query.camera}
    return await _page(services, "logs", query, _wanted(query, values, None), query.order)


def _wanted(
    query: EventQuery, values: dict[str, Any], principal: Principal | None, min_score: float | None = None
) -> Wanted:
    return Wanted(
        {name: list(given) for name, given in values.items()},
        None if query.since is None else from_rfc3339(query.since),
        None if query.until is None else from_rfc3339(query.until),
        min_score,
        _globs(principal),
    )


async def _page(services: Services, name: CollectionName, query: EventQuery, wanted: Wanted, order: str) -> Response:
    filters = {"list": name, **query.model_dump(exclude={"page_size", "page_token"})}
    tokens = services.page_tokens
    after = None if query.page_token is None else tokens.open(query.page_token, filters)
    by: Order = "arrival" if order == "arrival" else "time"
    page = await ArchiveQueries(services.database).page(name, wanted, by, query.page_size, after)
    token = None if page.position is None else tokens.sign(page.position, filters)
    return _json(f'{{"items":[{",".join(page.events)}],"next_page_token":{json.dumps(token)}}}')


async def _one(services: Services, name: CollectionName, identity: str, principal: Principal) -> Response:
    event = await ArchiveQueries(services.database).one(name, identity, _globs(principal))
    if event is None:
        raise Problem(404, "not_found", f"there is no such event in {name}", hint="It may be older than what is kept")
    return _json(event)


def _json(text: str) -> Response:
    """The events are sent as they are stored: what was published, byte for byte."""
    return Response(text, media_type="application/json")


def _globs(principal: Principal | None) -> Sequence[str] | None:
    return None if principal is None or principal.sees_all else principal.cameras
