"""Answers HEAD as GET is answered, without the body: load balancers ask so. FastAPI does not by itself."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from framematch.core.lifecycle import first_of


class HeadRequests:
    """The route handles a GET, up to the head of its answer; a stream ends there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        answered = asyncio.Event()

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start" and not answered.is_set():
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                answered.set()
            await asyncio.sleep(0)  # also a stream that never waits can be cancelled here

        async def handle() -> None:
            await self._app({**scope, "method": "GET"}, receive, send_head)

        await first_of(handle(), answered.wait())
