"""Match by picture: what the pictures of a request show, decided as the frames of a camera are."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from framematch.api.access.policy import access
from framematch.api.direct_route import DirectRoute
from framematch.api.matching.answers import match_answer, matched_products
from framematch.api.matching.bodies import MatchBody, read_match
from framematch.api.matching.requests import BODY_MB, answered
from framematch.api.schemas.match import MATCH_FORM, MatchAnswer, body_of
from framematch.api.schemas.problem import problems
from framematch.api.services import CurrentServices, Services
from framematch.matching.gate import PictureGate
from framematch.matching.match_pictures import StageTimes, match_pictures

router = APIRouter(tags=["match"], route_class=DirectRoute)


@router.post(
    "/v1/match",
    summary="Match pictures",
    openapi_extra={**access("match", body_mb=BODY_MB, pictures=True), **body_of("MatchRequest", MATCH_FORM)},
    responses={200: {"model": MatchAnswer}, **problems(415, 503, 504)},
    response_class=Response,
)
async def match(request: Request, services: CurrentServices) -> Response:
    """Decide what 1 to 16 pictures show, each as a whole or by regions, by the snapshot that the stream is decided by.

    A picture that cannot be decided has a `problem`; the others are decided nevertheless. Pictures are turned upright
    by their orientation tag, and brought to sRGB; of an animation the first frame counts. `X-Request-Timeout: SECONDS`
    or `Prefer: wait=SECONDS` shortens the time for the request, which is counted from the end of the upload.
    """
    return await answered(
        request, services, read=read_match, slots=lambda body: body.slots, work=lambda body: matched(services, body)
    )


async def matched(services: Services, body: MatchBody) -> dict[str, Any]:
    """A `MatchAnswer`, all by one snapshot."""
    served, matching, times = services.served(), services.settings.matching, StageTimes()
    results = await match_pictures(
        services.engine,
        served,
        body.pictures,
        top_k=body.top_k or matching.top_k,
        gate=PictureGate.of(matching),
        times=times,
    )
    metadata = await services.metadata.lookup(matched_products(results))
    times.end("enrich")
    return match_answer(served, results, metadata, times.ms)
