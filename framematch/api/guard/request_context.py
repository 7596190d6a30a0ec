"""Around each request: its id, the log and metrics, headers of every answer, and a problem for what nothing caught."""

import re
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from framematch.api.access.credentials import looks_secret
from framematch.api.metrics import ApiMetrics
from framematch.api.problems import ProblemAnswer, answer_of, to_problem
from framematch.core.errors import FramematchError

log = structlog.get_logger()

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
CLIENT_GONE: Final = 499
"""The status of a request whose client has left, as nginx counts it; nobody gets it."""
_EVERY_ANSWER: Final = (  # unless the route says otherwise
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class RequestContext:
    """The outermost middleware. `scope["state"]` has `request_id`; `route` and `principal` when they are known."""

    def __init__(self, app: ASGIApp, *, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, _request_id(scope))
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = answer.request_id
        started_s = time.monotonic()
        with structlog.contextvars.bound_contextvars(request_id=answer.request_id):
            try:
                await self._app(scope, receive, answer.send)
            except Exception as error:  # the last place: whatever it is, the client gets an answer and the log a cause
                if not isinstance(error, FramematchError):
                    log.exception("request_failed", method=scope["method"], route=state.get("route"))
                if answer.status is not None:
                    raise  # a half-sent answer can only be cut off
                await send_problem(answer.send, answer_of(to_problem(error), answer.request_id))
            finally:
                self._report(scope, state, answer.status or CLIENT_GONE, time.monotonic() - started_s)

    def _report(self, scope: Scope, state: Mapping[str, Any], status: int, seconds: float) -> None:
        route, principal = state.get("route", "none"), state.get("principal")
        self._metrics.request_seconds.labels(scope["method"], route, str(status)).observe(seconds)
        log.info(
            "request_ended", method=scope["method"], route=route, status=status, seconds=round(seconds, 4),
            principal=getattr(principal, "name", None), **state.get("refused", {}),
        )  # fmt: skip


class _Answer:
    """Adds what every answer has, and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.request_id = request_id
        self.status: int | None = None
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = list(message.get("headers", ()))
            present = {name for name, _ in own}
            added = [header for header in _EVERY_ANSWER if header[0] not in present]
            message = {**message, "headers": [*own, *added, (b"x-request-id", self.request_id.encode())]}
        await self._send(message)


async def send_problem(send: Send, answer: ProblemAnswer) -> None:
    """Send a problem as the whole answer."""
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.body})


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        text: str = value.decode("latin-1")
        if name == b"x-request-id" and _SANE_ID.fullmatch(text) and not looks_secret(text):
            return text
    return uuid.uuid4().hex
