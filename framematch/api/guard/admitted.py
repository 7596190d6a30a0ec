"""Lets a request through while there is room for its body, and ends an upload that is too slow."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from framematch.api.admission import Admission
from framematch.api.guard.body_limit import declared_size
from framematch.api.guard.request_context import send_problem
from framematch.api.guard.route_table import FoundRoute
from framematch.api.problems import Problem, answer_of


class Admitted:
    """The middleware behind the guard: by then it is known who asks, for what."""

    def __init__(self, app: ASGIApp, *, admission: Admission, upload_timeout_s: float) -> None:
        self._app = app
        self._admission = admission
        self._upload_timeout_s = upload_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope["state"]
        found: FoundRoute = state["found_route"]
        if found.access.streamed:
            await self._app(scope, _steady(receive, self._upload_timeout_s), send)
            return
        try:
            self._admission.check(pictures=found.access.pictures, body_bytes=declared_size(scope) or 0)
        except Problem as problem:
            await send_problem(send, answer_of(problem, state["request_id"]))
            return
        with self._admission.body() as add:
            await self._app(scope, _counted(receive, add, self._upload_timeout_s), send)


def _steady(receive: Receive, timeout_s: float) -> Receive:
    """`receive` that raises a Problem (408) when a body that is written away as it comes does not go on."""
    complete = False

    async def receive_steady() -> Message:
        nonlocal complete
        if complete:
            return await receive()
        try:
            async with asyncio.timeout(timeout_s):
                message = await receive()
        except TimeoutError:
            raise _too_slow(f"nothing of the body came for {timeout_s:g} s") from None
        complete = not message.get("more_body", False)
        return message

    return receive_steady


def _counted(receive: Receive, add: Callable[[int], None], timeout_s: float) -> Receive:
    """`receive` that adds up the body's bytes, and raises Problem (408, 429) when there is no time or room for it."""
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    complete = False

    async def receive_counted() -> Message:
        nonlocal complete
        if complete:  # what comes now is the end of the connection, whenever that is
            return await receive()
        try:
            async with asyncio.timeout_at(deadline_s):
                message = await receive()
        except TimeoutError:
            raise _too_slow(f"the body was not complete after {timeout_s:g} s") from None
        add(len(message.get("body", b"")))
        complete = not message.get("more_body", False)
        return message

    return receive_counted


def _too_slow(text: str) -> Problem:
    return Problem(408, "upload_timeout", text, hint="Send it faster", headers={"Connection": "close"})
