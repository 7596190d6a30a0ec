"""How long a request is worked for: until its deadline, and as long as its client is there."""

import asyncio
import re
from collections.abc import Awaitable
from typing import Final, TypeVar

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from framematch.api.admission import Admission
from framematch.api.problems import FieldProblem, Problem

Result = TypeVar("Result")

TIMEOUT_HEADER: Final = "X-Request-Timeout"
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([^\",;]*)\"?", re.IGNORECASE)


async def while_wanted(request: Request, work: Awaitable[Result], *, timeout_s: float, admission: Admission) -> Result:
    """The result of `work`, which is cancelled at its deadline and when the client has gone. Call it after the upload.

    The deadline is `timeout_s`, or less if the request says so.

    Raises:
        Problem: 504, its time is over; 400, the request's deadline is no time.
        ClientDisconnect: the client has gone.
    """
    timeout_s = min(timeout_s, requested_timeout_s(request.headers) or timeout_s)
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if gone.done():
            admission.metrics.abandoned.inc()
            raise ClientDisconnect
        raise Problem(
            504, "deadline_exceeded", f"there is no answer after {timeout_s:g} s",
            hint=f"Repeat it later, or with a longer {TIMEOUT_HEADER}",
        )  # fmt: skip
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.wait({working, gone})


def requested_timeout_s(headers: Headers) -> float | None:
    """The time that a request asks for by `X-Request-Timeout: SECONDS` or `Prefer: wait=SECONDS`; None without one.

    Raises:
        Problem: it is no time.
    """
    text = headers.get(TIMEOUT_HEADER)
    name = TIMEOUT_HEADER
    if text is None:
        found = _WAIT.search(headers.get("prefer", ""))
        if found is None:
            return None
        text, name = found[1], "Prefer"
    try:
        timeout_s = float(text)
    except ValueError:
        timeout_s = 0.0
    if not 0 < timeout_s < float("inf"):
        problem = FieldProblem(f"header {name}", "should be a number of seconds above 0")
        raise Problem(400, "invalid_request", f"{problem.pointer}: {problem.detail}", errors=[problem])
    return timeout_s


async def _gone(request: Request) -> None:
    """Return when the connection has ended; the body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
