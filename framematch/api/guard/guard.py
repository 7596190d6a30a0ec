"""Lets a request through to its route, or refuses it before its body is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from framematch.api.access.audit import AuditEntry, AuditLog, safe_parameters
from framematch.api.access.credentials import check_address
from framematch.api.access.principal import Principal
from framematch.api.access.rate_limit import RateLimit
from framematch.api.guard.body_limit import declared_size, limited, too_large
from framematch.api.guard.origin import SAFE_METHODS, HostCheck, check_same_site
from framematch.api.guard.request_context import send_problem
from framematch.api.guard.route_table import FoundRoute, RouteTable
from framematch.api.metrics import ApiMetrics
from framematch.api.problems import Problem, answer_of

_FORBIDDEN, _FAILED, _CLIENT_ERRORS = 403, 500, range(400, 500)
_CHANGING_SCOPES = ("operate", "admin")


class Authenticator(Protocol):
    """Finds out who sends a request."""

    async def authenticate(self, headers: Headers, client: str) -> Principal:
        """Whose request this is, by its headers and the client's address; raises Problem (400, 401, 429, 503)."""


@dataclass(frozen=True)
class GuardRules:
    """What the guard checks with."""

    authenticator: Authenticator
    rate_limit: RateLimit
    hosts: HostCheck
    origins: Sequence[str] = ()
    audit: AuditLog | None = None


class Guard:
    """Checks, in this order: the address, the route, who asks, what they may do, how often, the size of the body.

    What a request changed, or was not allowed to change, goes into the audit log after its answer.
    """

    def __init__(self, app: ASGIApp, *, routes: RouteTable, rules: GuardRules, metrics: ApiMetrics) -> None:
        self._app = app
        self._routes = routes
        self._rules = rules
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope["state"]
        answer = _Answer(send, self._rules.rate_limit, state)
        try:
            limit = await self._admit(scope, state)
        except Problem as problem:
            state["refused"] = {"reason": problem.code, "client": _client(scope)}
            self._metrics.rejected.labels(problem.code).inc()
            await send_problem(answer.send, answer_of(problem, state["request_id"]))
        else:
            await self._app(scope, limited(receive, limit), answer.send)
        finally:
            await self._audit(scope, state, answer.status)

    async def _admit(self, scope: Scope, state: dict[str, Any]) -> int:
        """Set `found_route`, `route` and `principal` of the request; returns how many bytes its body may have."""
        headers = Headers(scope=scope)
        check_address(scope["path"], scope["query_string"])
        found = self._routes.find(scope)
        state["route"], state["found_route"] = found.template, found
        if found.access.scope is not None:
            self._rules.hosts.check(headers)  # not of probes, which know an address alone
            principal = await self._rules.authenticator.authenticate(headers, _client(scope))
            state["principal"] = principal
            if principal.kind == "anonymous":
                check_same_site(scope["method"], headers, self._rules.origins)
            if not principal.may(found.access.scope):
                hint = f"It needs the scope {found.access.scope}"
                raise Problem(_FORBIDDEN, "forbidden", f"{principal.name} may not do this", hint=hint)
            self._rules.rate_limit.charge(principal)
        size = declared_size(scope)
        if size is not None and size > found.access.body_bytes:
            raise too_large(found.access.body_bytes)
        return found.access.body_bytes

    async def _audit(self, scope: Scope, state: dict[str, Any], status: int | None) -> None:
        found: FoundRoute | None = state.get("found_route")
        principal: Principal | None = state.get("principal")
        audit = self._rules.audit
        if audit is None or found is None or principal is None or not _is_audited(scope["method"], found, status):
            return
        entry = AuditEntry(
            principal=principal.name,
            kind=principal.kind,
            key_id=principal.key_id,
            client=_client(scope),
            method=scope["method"],
            route=found.template,
            parameters=safe_parameters({**found.parameters, **state.get("audit", {})}),
            status=status or _FAILED,
            request_id=state["request_id"],
        )
        await audit.add(entry)


class _Answer:
    """Adds what is left of the rate limit, and remembers the status."""

    def __init__(self, send: Send, rate_limit: RateLimit, state: dict[str, Any]) -> None:
        self.status: int | None = None
        self._send = send
        self._rate_limit = rate_limit
        self._state = state

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            principal = self._state.get("principal")
            if principal and (limits := self._rate_limit.headers(principal)):
                MutableHeaders(scope=message).update(limits)
        await self._send(message)


def _is_audited(method: str, found: FoundRoute, status: int | None) -> bool:
    """Whether this changed something, or may have, or was refused for lack of rights."""
    if method in SAFE_METHODS or found.access.scope not in _CHANGING_SCOPES:
        return False
    return status is None or status == _FORBIDDEN or status not in _CLIENT_ERRORS


def _client(scope: Scope) -> str:
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else ""
