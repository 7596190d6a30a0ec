"""A service's health and metrics over HTTP: /healthz (alive), /readyz (ready, or why not), /metrics (Prometheus)."""

from collections.abc import AsyncIterator, Collection, Hashable, Iterable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from framematch.core.errors import SettingsError
from framematch.core.settings import HttpSettings

log = structlog.get_logger()

_STARTING = object()  # the source of each part until the first report


class Health:
    """The parts that a service needs; it is ready when every part works.

    A part may have several sources that report on it, such as the partitions of an output. It works when none of them
    reports a reason, so a source that works never hides one that fails. A part that works may have a note. `optional`
    parts are reported too, but the service is ready without them: it still has answers to give.
    """

    def __init__(self, *parts: str, optional: Collection[str] = ()) -> None:
        self._reasons: dict[str, dict[Hashable, str]] = {part: {_STARTING: "starting"} for part in (*parts, *optional)}
        self._required = parts
        self._notes: dict[str, str] = {}

    def set_ready(self, part: str, *, source: Hashable = None) -> None:
        """`part` works as far as `source` knows."""
        self._reasons[part].pop(_STARTING, None)
        self._reasons[part].pop(source, None)

    def set_not_ready(self, part: str, reason: str, *, source: Hashable = None) -> None:
        """`part` does not work, and why. The reason is public: it must contain no secret."""
        self._reasons[part].pop(_STARTING, None)
        self._reasons[part][source] = reason

    def set_note(self, part: str, note: str | None) -> None:
        """What an operator should know of `part` though it works; None: nothing. It is public too."""
        if note is None:
            self._notes.pop(part, None)
        else:
            self._notes[part] = f" ({note})"

    @property
    def ready(self) -> bool:
        """Whether every part works that is not optional."""
        return self.works(*self._required)

    def works(self, *parts: str) -> bool:
        """Whether these parts work."""
        return not any(self._reasons[part] for part in parts)

    def report(self) -> dict[str, str]:
        """Each part with `ok` or its reasons, each reason once, and its note: `ok (…)`."""
        return {
            part: ("; ".join(dict.fromkeys(reasons.values())) or "ok") + self._notes.get(part, "")
            for part, reasons in self._reasons.items()
        }


def new_registry() -> CollectorRegistry:
    """A registry with the memory, CPU and file descriptors of this process under `framematch_process_…`."""
    registry = CollectorRegistry()
    ProcessCollector(namespace="framematch", registry=registry)
    return registry


@asynccontextmanager
async def serve_http(health: Health, registry: CollectorRegistry, settings: HttpSettings) -> AsyncIterator[str]:
    """Serve the three endpoints inside the context; yields the base URL, and raises as `serve_routes`."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_request: web.Request) -> web.Response:
        return web.json_response(health.report(), status=200 if health.ready else 503)

    async def metrics(_request: web.Request) -> web.Response:
        return metrics_response(registry)

    routes = [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
    async with serve_routes(routes, settings) as url:
        yield url


def metrics_response(registry: CollectorRegistry) -> web.Response:
    """The registry's metrics in Prometheus' text format."""
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


@asynccontextmanager
async def serve_routes(routes: Iterable[web.RouteDef], settings: HttpSettings) -> AsyncIterator[str]:
    """Serve these routes inside the context; yields the base URL, or `unix:` and the path of the UNIX socket.

    Raises:
        SettingsError: the port is in use, the address is not one of this machine, or the socket cannot be created.
    """
    app = web.Application()
    app.add_routes(routes)
    app.on_response_prepare.append(_without_server_header)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        url = await _listen(runner, settings)
        log.info("http_listening", url=url)
        yield url
    finally:
        await runner.cleanup()


async def _without_server_header(_request: web.Request, response: web.StreamResponse) -> None:
    """Name no product and no version to whoever asks."""
    response.headers.pop("Server", None)


async def _listen(runner: web.AppRunner, settings: HttpSettings) -> str:
    is_socket = settings.host.startswith("/")
    address = settings.host if is_socket else f"{settings.host}:{settings.port}"
    try:
        if is_socket:
            await web.UnixSite(runner, settings.host).start()
            return f"unix:{settings.host}"
        await web.TCPSite(runner, settings.host, settings.port).start()
    except OSError as error:
        raise SettingsError(
            f"cannot serve HTTP at {address}: {error.strerror or error}",
            hint="Set FRAMEMATCH_HTTP__HOST to a path that can be made"
            if is_socket
            else "Set FRAMEMATCH_HTTP__PORT to a free port, or to 0 for any free one",
        ) from None
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"
