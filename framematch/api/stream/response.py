"""An answer without an end: sends chunks until the client is gone, reads nothing, may not see more, or we stop."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Literal

import msgspec
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from framematch.api.problems import Problem
from framematch.api.protocol import EXTENSION_ABORT
from framematch.api.stream.events import event_text
from framematch.api.stream.follower import Follower
from framematch.api.stream.hub import EventHub
from framematch.core.lifecycle import first_of

log = structlog.get_logger()

CHECK_S = 45.0
"""With the time of a ping less than a minute, between two checks of whether the client's key is still valid."""
_LAST_SEND_S = 0.5
_UNAVAILABLE = 503

End = Literal["gone", "frozen", "shutdown", "unauthorized"]


class EventStreamResponse(Response):
    """Sends what a follower gives. `check` raises a Problem when the client's key is no longer valid."""

    media_type = "text/event-stream"

    def __init__(
        self,
        hub: EventHub,
        follower: Follower,
        *,
        check: Callable[[], Awaitable[None]],
        stop: asyncio.Event,
        send_timeout_s: float,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._follower = follower
        self._check = check
        self._stop = stop
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; returns when the stream has ended."""
        with self._hub.client():
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            ended: list[End] = []

            async def until(end: Awaitable[End]) -> None:
                ended.append(await end)

            await first_of(until(self._send_all(send)), until(_gone(receive)), until(_stopped(self._stop)))
            await self._end(ended[0], scope, receive, send)

    async def _send_all(self, send: Send) -> End:
        check_at_s = time.monotonic() + CHECK_S
        async with aclosing(self._follower.chunks()) as chunks:
            async for chunk in chunks:
                try:
                    async with asyncio.timeout(self._send_timeout_s):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                except TimeoutError:
                    return "frozen"
                del chunk  # a client that waits should not keep memory
                if time.monotonic() >= check_at_s:
                    check_at_s = time.monotonic() + CHECK_S
                    try:
                        await self._check()
                    except Problem as problem:
                        if problem.status != _UNAVAILABLE:  # else nobody knows
                            return "unauthorized"
        raise AssertionError("the events have no end")

    async def _end(self, why: End, scope: Scope, receive: Receive, send: Send) -> None:
        if why == "gone":
            return
        self._hub.metrics.ended.labels(why).inc()
        log.info("stream_ended", reason=why)
        if why != "frozen":
            text = event_text("end", msgspec.json.encode({"reason": why})) + b"\n"
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SEND_S):
                    await send({"type": "http.response.body", "body": text, "more_body": True})
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
        if abort := scope.get("extensions", {}).get(EXTENSION_ABORT):
            abort["abort"]()
            await _gone(receive)


async def _gone(receive: Receive) -> End:
    while (await receive())["type"] != "http.disconnect":
        pass
    return "gone"


async def _stopped(stop: asyncio.Event) -> End:
    await stop.wait()
    return "shutdown"
