"""Assembles the application: its routes, what every request passes, and how errors are answered."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from framematch.api.access.policy import SECURITY_SCHEMES
from framematch.api.guard.encoded_path import EncodedPath
from framematch.api.guard.guard import Guard
from framematch.api.guard.request_context import RequestContext
from framematch.api.guard.route_table import RouteTable
from framematch.api.problems import FieldProblem, Problem, answer_of, to_problem
from framematch.api.routes import ROUTERS
from framematch.api.schemas.problem import problem_schemas, problems
from framematch.api.services import Services
from framematch.core.errors import FramematchError

_ABOUT = "Match pictures against the product catalogue, search and change it, and follow what the cameras see."
_SEE_DOCS = "See /docs for what is allowed"
# Of errors that FastAPI and Starlette raise themselves.
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "unsupported_media_type"}
_LOCATIONS = {"query": "query parameter", "path": "path", "header": "header"}


def create_app(services: Services) -> FastAPI:
    """The application, as an ASGI server runs it."""
    app = FastAPI(
        title="framematch",
        summary=_ABOUT,
        version=version("framematch"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=problems(400, 500),
    )
    app.state.services = services
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(FramematchError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)
    # The last that is added is the first that a request passes.
    app.add_middleware(
        Guard, routes=RouteTable(ROUTERS), authenticator=services.authenticator, metrics=services.metrics
    )
    app.add_middleware(EncodedPath)
    app.add_middleware(RequestContext, metrics=services.metrics)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # FastAPI's own way to extend the document
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once, with our security schemes and without FastAPI's own 422."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        components = document.setdefault("components", {})
        components["securitySchemes"] = SECURITY_SCHEMES
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            components.get("schemas", {}).pop(name, None)
        components.setdefault("schemas", {}).update(problem_schemas())
        app.openapi_schema = document
    return app.openapi_schema


async def _on_error(request: Request, error: Exception) -> Response:
    return _response(request, to_problem(error))


async def _on_invalid(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    fields = [FieldProblem(_pointer(one["loc"]), _reason(one)) for one in found]
    text = f"{fields[0].pointer}: {fields[0].detail}" if fields else "the request is not valid"
    problem = Problem(400, "invalid_request", text, hint=_SEE_DOCS, errors=fields)
    return _response(request, problem)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = _CODES.get(error.status_code, "invalid_request")
    return _response(request, Problem(error.status_code, code, str(error.detail), hint=_SEE_DOCS))


def _response(request: Request, problem: Problem) -> Response:
    answer = answer_of(problem, request.state.request_id)
    return Response(answer.body, answer.status, answer.headers)


def _pointer(location: tuple[Any, ...]) -> str:
    """`/images/0/content` for a part of the body, `query parameter page_size` for a parameter."""
    where, *path = (str(part) for part in location)
    if where in _LOCATIONS:
        return " ".join([_LOCATIONS[where], *path])
    return "/" + "/".join(path)


def _reason(found: dict[str, Any]) -> str:
    """What is wrong, without the value, which may be a secret."""
    message = str(found["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
