"""Ends a request whose body is larger than its route takes, before it is in memory."""

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from framematch.api.problems import Problem
from framematch.core.units import BYTES_PER_MB


def too_large(limit: int) -> Problem:
    """The problem of a body beyond `limit` bytes."""
    text = f"the body has more than {limit / BYTES_PER_MB:g} MB"
    return Problem(413, "body_too_large", text, hint="Send smaller or fewer parts", headers={"Connection": "close"})


def declared_size(scope: Scope) -> int | None:
    """The size in the request's head; None without one.

    Raises:
        Problem: it is not a size, or there are several that differ.
    """
    sizes = set(Headers(scope=scope).getlist("content-length"))
    if not sizes:
        return None
    text = sizes.pop()
    if sizes or not (text.isascii() and text.isdigit()):
        raise Problem(400, "invalid_request", "the header Content-Length is not a size", hint="Send the size in bytes")
    return int(text)


def limited(receive: Receive, limit: int) -> Receive:
    """`receive` that raises a Problem (413) beyond `limit` bytes, whatever the head says."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise too_large(limit)
        return message

    return receive_limited
