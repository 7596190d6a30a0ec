"""The OpenAPI document, and a page that shows it: Swagger UI out of the wheel, so that nothing comes from elsewhere."""

from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, JSONResponse

from framematch.api.access.policy import access
from framematch.api.problems import Problem

router = APIRouter(include_in_schema=False)

FOLDER: Final = Path(__file__).parents[1] / "swagger_ui"
# Nothing is loaded from elsewhere, and no script or style stands in the page. Swagger UI has its icons as data.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PUBLIC: Final = access("public")
_TYPES: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
}


@router.get("/openapi.json", openapi_extra=_PUBLIC)
async def openapi_document(request: Request) -> JSONResponse:
    """The document of all routes."""
    document: dict[str, Any] = request.app.openapi()
    return JSONResponse(document, headers={"Cache-Control": "no-cache"})


@router.get("/docs", openapi_extra=_PUBLIC)
async def docs() -> FileResponse:
    """The page."""
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return FileResponse(FOLDER / "index.html", media_type="text/html", headers=headers)


@router.get("/docs/{name}", openapi_extra=_PUBLIC)
async def docs_file(name: Annotated[str, PathParameter()]) -> FileResponse:
    """A script or the styles of the page."""
    if name not in _TYPES:
        raise Problem(404, "not_found", "the page has no such file", hint="Open /docs")
    return FileResponse(FOLDER / name, media_type=_TYPES[name], headers={"Cache-Control": "public, max-age=86400"})
