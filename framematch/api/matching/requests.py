"""What match and search have in common: read the body, hold slots, work while somebody waits, answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.responses import Response

from framematch.api.patience import requested_timeout_s, while_wanted
from framematch.api.services import Services
from framematch.core import exact_json

Body = TypeVar("Body")

BODY_MB: Final = 40.0
_LARGE_BYTES = 200_000  # such a body takes a millisecond to read


async def answered(
    request: Request,
    services: Services,
    *,
    read: Callable[[str, bytes], Body],
    slots: Callable[[Body], int],
    work: Callable[[Body], Awaitable[dict[str, Any]]],
) -> Response:
    """The answer that `work` makes of the request's body.

    Raises:
        Problem: the body or a header is not valid; there is no room, or the key is over its rate; its time is over.
        TritonUnavailableError, ModelError: Triton does not serve the model: nobody waits for it.
        ClientDisconnect: the client has gone.
    """
    requested_timeout_s(request.headers)  # before the body
    services.triton.check()
    body = await _read(request, services, read)
    services.access.rate_limit.charge(request.state.principal, slots(body) - 1)  # the guard has charged one
    with services.admission.pictures(slots(body)):
        answer = await while_wanted(
            request, work(body), timeout_s=services.settings.api.request_timeout_s, admission=services.admission
        )
    return Response(exact_json.encode(answer), media_type="application/json")


async def _read(request: Request, services: Services, read: Callable[[str, bytes], Body]) -> Body:
    content_type = request.headers.get("content-type", "")
    data = b"".join([chunk async for chunk in request.stream()])
    if len(data) < _LARGE_BYTES:
        return read(content_type, data)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(services.threads.decode, read, content_type, data)
