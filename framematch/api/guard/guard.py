"""Lets a request through to its route, or refuses it before its body is read."""

from typing import Any, Protocol

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from framematch.api.access.principal import Principal
from framematch.api.guard.body_limit import declared_size, limited, too_large
from framematch.api.guard.request_context import send_problem
from framematch.api.guard.route_table import RouteTable
from framematch.api.metrics import ApiMetrics
from framematch.api.problems import Problem, answer_of


class Authenticator(Protocol):
    """Finds out who sends a request."""

    async def authenticate(self, headers: Headers, client: str) -> Principal:
        """Whose request this is, by its headers and the client's address; raises Problem (401, 503)."""


class Guard:
    """Checks, in this order: the route, who asks, what they may do, the size of the body."""

    def __init__(self, app: ASGIApp, *, routes: RouteTable, authenticator: Authenticator, metrics: ApiMetrics) -> None:
        self._app = app
        self._routes = routes
        self._authenticator = authenticator
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope["state"]
        try:
            limit = await self._admit(scope, state)
        except Problem as problem:
            self._metrics.rejected.labels(problem.code).inc()
            await send_problem(send, answer_of(problem, state["request_id"]))
            return
        await self._app(scope, limited(receive, limit), send)

    async def _admit(self, scope: Scope, state: dict[str, Any]) -> int:
        """Set `route` and `principal` of the request; returns how many bytes its body may have."""
        found = self._routes.find(scope)
        state["route"] = found.template
        access = found.access
        if access.scope is not None:
            client = scope["client"][0] if scope.get("client") else ""
            principal = await self._authenticator.authenticate(Headers(scope=scope), client)
            state["principal"] = principal
            if not principal.may(access.scope):
                raise Problem(
                    403, "forbidden", f"{principal.name} may not do this", hint=f"It needs the scope {access.scope}"
                )
        size = declared_size(scope)
        if size is not None and size > access.body_bytes:
            raise too_large(access.body_bytes)
        return access.body_bytes
