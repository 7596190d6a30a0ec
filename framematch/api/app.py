"""Assembles the application: its routes, what every request passes, and how errors are answered."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from framematch.api.document import openapi_document
from framematch.api.guard.admitted import Admitted
from framematch.api.guard.encoded_path import EncodedPath
from framematch.api.guard.guard import Guard, GuardRules
from framematch.api.guard.head_requests import HeadRequests
from framematch.api.guard.origin import HostCheck, cors_options
from framematch.api.guard.request_context import CLIENT_GONE, RequestContext
from framematch.api.guard.route_table import RouteTable
from framematch.api.problems import FieldProblem, Problem, answer_of, to_problem
from framematch.api.routes import ROUTERS
from framematch.api.services import Services
from framematch.core.errors import FramematchError

_ABOUT = "Match pictures against the product catalogue, search and change it, and follow what the cameras see."
_SEE_DOCS = "See /docs for what is allowed"
# Of errors that FastAPI and Starlette raise themselves.
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "unsupported_media_type"}
_LOCATIONS = {"query": "query parameter", "path": "path", "header": "header"}


def create_app(services: Services) -> FastAPI:
    """The application, as an ASGI server runs it."""
    app = routed_app()
    app.state.services = services
    app.add_exception_handler(FramematchError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_gone)
    # The last that is added is the first that a request passes.
    metrics, settings = services.metrics, services.settings.api
    app.add_middleware(Admitted, admission=services.admission, upload_timeout_s=settings.upload_timeout_s)
    app.add_middleware(Guard, routes=RouteTable(ROUTERS), rules=_guard_rules(services), metrics=metrics)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, **cors_options(settings.cors_origins))
    app.add_middleware(HeadRequests)
    app.add_middleware(EncodedPath)
    app.add_middleware(RequestContext, metrics=metrics)
    return app


def _guard_rules(services: Services) -> GuardRules:
    settings, access = services.settings.api, services.access
    return GuardRules(
        authenticator=access.authenticator,
        rate_limit=access.rate_limit,
        hosts=HostCheck(settings.allowed_hosts, loopback_only=settings.auth == "none"),
        origins=settings.cors_origins,
        audit=access.audit,
    )


def routed_app() -> FastAPI:
    """The routes and their OpenAPI document, which need no server."""
    app = FastAPI(
        title="framematch",
        summary=_ABOUT,
        version=version("framematch"),
        # routes/document.py has these.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    for router in ROUTERS:
        app.include_router(router)
    app.openapi = lambda: openapi_document(app)  # type: ignore[method-assign]  # FastAPI's own way to extend the document
    return app


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
    if isinstance(error.__cause__, FramematchError):  # FastAPI takes what ends an upload for a bad body
        return _response(request, to_problem(error.__cause__))
    if isinstance(error.__cause__, ClientDisconnect):
        return await _on_gone(request, error.__cause__)
    code = _CODES.get(error.status_code, "invalid_request")
    return _response(request, Problem(error.status_code, code, str(error.detail), hint=_SEE_DOCS))


async def _on_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


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
