"""Serves an ASGI application over HTTP until it is told to stop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog
import uvicorn
from starlette.types import ASGIApp

from framematch.api.protocol import AbortableProtocol
from framematch.core.errors import SettingsError
from framematch.core.settings import ApiSettings

log = structlog.get_logger()

_BACKLOG = 2_048
_KEEP_ALIVE_S = 75  # longer than a proxy keeps an idle connection, so that it is the one who closes


@asynccontextmanager
async def serving(app: ASGIApp, settings: ApiSettings, *, drain_s: float) -> AsyncIterator[str]:
    """Serve `app` inside the context; yields the base URL.

    At the end no new connection is taken, and requests have `drain_s` to end.

    Raises:
        SettingsError: the port is in use, or the address is not one of this machine.
    """
    listener = _listen(settings)
    config = uvicorn.Config(
        app,
        http=AbortableProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="off",
        ws="none",
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(drain_s)),
    )
    server = _Server(config)
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.serve([listener]))
        try:
            log.info("api_listening", url=url)
            yield url
        finally:
            server.should_exit = True
            await asyncio.wait({running})


class _Server(uvicorn.Server):
    """Leaves the signals to the service (`framematch.core.lifecycle`)."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _listen(settings: ApiSettings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)  # now, so that whoever reads the address in the log gets in
    except OSError as error:
        raise SettingsError(
            f"cannot serve the API at {settings.host}:{settings.port}: {error.strerror or error}",
            hint="Set FRAMEMATCH_API__PORT to a free port, or to 0 for any free one",
        ) from None
    return listener
