"""Search the catalogue by a text or a picture."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from framematch.api.access.policy import access
from framematch.api.direct_route import DirectRoute
from framematch.api.matching.answers import search_answer
from framematch.api.matching.bodies import SearchBody, read_search
from framematch.api.matching.requests import BODY_MB, answered
from framematch.api.schemas.match import SEARCH_FORM, SearchAnswer, body_of
from framematch.api.schemas.problem import problems
from framematch.api.services import CurrentServices, Services
from framematch.matching.gate import PictureGate
from framematch.matching.match_pictures import StageTimes
from framematch.matching.reference_images import reference_images
from framematch.matching.search import Catalogue, SearchResult, search_by_picture, search_by_text
from framematch.matching.serving.served_snapshot import ServedSnapshot

router = APIRouter(tags=["match"], route_class=DirectRoute)


@router.post(
    "/v1/search",
    summary="Search products by a text or a picture",
    openapi_extra={**access("match", body_mb=BODY_MB, pictures=True), **body_of("SearchRequest", SEARCH_FORM)},
    responses={200: {"model": SearchAnswer}, **problems(409, 415, 503, 504)},
    response_class=Response,
)
async def search(request: Request, services: CurrentServices) -> Response:
    """The nearest products among those that fit the filter, best first; no hits when nothing in the catalogue is near.

    A picture is near unless it is decided to be unknown. A text is near when its best product stands out against texts
    about other things. With `min_score` all products that reach it are hits, near or not.
    """
    return await answered(
        request, services, read=read_search, slots=lambda _body: 1, work=lambda body: _found(services, body)
    )


async def _found(services: Services, body: SearchBody) -> dict[str, Any]:
    served, times = services.served(), StageTimes()
    catalogue = Catalogue(served, services.products, services.metadata, services.engine)
    if body.picture is not None:
        gate = PictureGate.of(services.settings.matching)
        result = await search_by_picture(
            catalogue, body.picture.data, top_k=body.top_k, products=body.products, gate=gate
        )
    else:
        texts = await services.texts.get(served)
        result = await search_by_text(catalogue, texts, body.text or "", top_k=body.top_k, products=body.products)
    times.end("search")
    images = await _reference_images(services, served, result)
    times.end("enrich")
    return search_answer(served, result, min_score=body.min_score, reference_images=images, timings_ms=times.ms)


async def _reference_images(services: Services, served: ServedSnapshot, result: SearchResult) -> dict[str, str | None]:
    if result.query is None:
        return {}
    loop = asyncio.get_running_loop()
    products = [one.product for one in result.products]
    return await loop.run_in_executor(services.threads.search, reference_images, served, result.query, products)
