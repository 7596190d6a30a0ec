"""The calls of the project's first draft, as aliases: programs that were written for it go on working."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from framematch.api.access.policy import access
from framematch.api.matching.bodies import read_file
from framematch.api.matching.requests import BODY_MB, answered
from framematch.api.routes.health import READINESS, readyz
from framematch.api.routes.match import matched
from framematch.api.schemas.match import SEED_FORM, MatchAnswer
from framematch.api.schemas.problem import problems
from framematch.api.services import CurrentServices

router = APIRouter(tags=["aliases"])


@router.post(
    "/match-product",
    summary="Match one picture",
    openapi_extra={
        **access("match", body_mb=BODY_MB, pictures=True),
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": SEED_FORM}}},
    },
    responses={200: {"model": MatchAnswer}, **problems(415, 503, 504)},
    response_class=Response,
)
async def match_product(request: Request, services: CurrentServices) -> Response:
    """An alias of `POST /v1/match` for one picture in the part `file`."""
    return await answered(
        request, services, read=read_file, slots=lambda body: body.slots, work=lambda body: matched(services, body)
    )


@router.get("/health", summary="Ready, or why not", openapi_extra=access("public"), responses=READINESS)
async def health(services: CurrentServices) -> JSONResponse:
    """An alias of `GET /readyz`."""
    return await readyz(services)
