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
    timer, gone = asyncio.timeout(timeout_s), False

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        if not timer.expired():
            timer.reschedule(asyncio.get_running_loop().time())

    try:
        async with timer:
            watching = asyncio.ensure_future(watch())
            try:
                return await work
            finally:
                watching.cancel()
                await asyncio.wait({watching})
    except TimeoutError:
        if not timer.expired():
            raise
    if gone:
        admission.metrics.abandoned.inc()
        raise ClientDisconnect
    raise Problem(
        504, "deadline_exceeded", f"there is no answer after {timeout_s:g} s",
        hint=f"Repeat it later, or with a longer {TIMEOUT_HEADER}",
    )  # fmt: skip


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
