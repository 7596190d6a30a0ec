"""Whether the process is alive and ready, and its metrics: for orchestrators and Prometheus, without a key."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from framematch.api.access.policy import access
from framematch.api.services import CurrentServices

router = APIRouter(tags=["health"])
_PUBLIC = access("public")
READINESS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"example": {"mongodb": "ok", "snapshot": "ok"}}}},
    503: {
        "description": "Not ready yet.",
        "content": {"application/json": {"example": {"mongodb": "ok", "snapshot": "the catalogue has no index yet"}}},
    },
}
"""The answers of `/readyz`."""


@router.get("/healthz", summary="Alive", openapi_extra=_PUBLIC)
async def healthz() -> dict[str, str]:
    """The process answers, whatever its servers do."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Ready, or why not",
    openapi_extra=_PUBLIC,
    responses=READINESS,
)
async def readyz(services: CurrentServices) -> JSONResponse:
    """Each part that the API needs, with `ok` or the reason why it does not work."""
    health = services.health
    return JSONResponse(health.report(), status_code=200 if health.ready else 503)


@router.get("/metrics", summary="Metrics for Prometheus", openapi_extra=_PUBLIC, response_class=Response)
async def metrics(services: CurrentServices) -> Response:
    """All metrics of this process, in Prometheus' text format."""
    return Response(generate_latest(services.registry), media_type=CONTENT_TYPE_LATEST)
