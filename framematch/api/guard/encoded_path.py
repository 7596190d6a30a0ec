"""Keeps a slash inside of an id apart from the slashes of a path."""

from typing import Final
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

_SLASH: Final = "%2F"
_PERCENT: Final = "%25"


class EncodedPath:
    """Middleware: a server decodes `/v1/products/a%2Fb` to three segments; here it stays two, `a%2Fb` the last of them.

    In the path that routes see, `%2F` stands for a slash and `%25` for a percent sign inside of a segment; everything
    else is decoded. `decoded_segment` gives the text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        raw = scope.get("raw_path")
        if scope["type"] == "http" and raw and b"%" in raw:
            scope = {**scope, "path": segmented(raw.partition(b"?")[0].decode("latin-1"))}
        await self._app(scope, receive, send)


def segmented(raw_path: str) -> str:
    """The path that routes see, of a path as it was sent."""
    segments = (unquote(segment) for segment in raw_path.split("/"))
    return "/".join(segment.replace("%", _PERCENT).replace("/", _SLASH) for segment in segments)


def decoded_segment(segment: str) -> str:
    """The text of a path parameter. One of a path without a percent sign is the same."""
    return segment.replace(_SLASH, "/").replace(_PERCENT, "%")
