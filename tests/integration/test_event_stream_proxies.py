"""The event stream over real connections: through nginx and Caddy with their default buffering, and to the end."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from framematch.api.server import serving
from framematch.api.stream.hub import EventHub
from framematch.core.errors import FramematchError
from framematch.core.settings import ApiSettings, KafkaSettings
from framematch.stack.cache import cached_folder, run_tool
from framematch.stack.server import ReservedPort, listens
from tests.event_stream import PATH, SseParser, stream_app
from tests.support import eventually, wait_until
from tests.unit.api.stream.stream_items import event, positions

pytestmark = pytest.mark.integration

NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  gzip on; gzip_types *;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass {url}; proxy_set_header Host $host; }}
  }}
}}
"""
CADDY = """\
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  encode gzip
  reverse_proxy {url}
}}
"""


def program(package: str, path: str) -> Path:
    """A program of Debian: the installed one, else from its package, unpacked into the cache."""
    if found := shutil.which(package, path="/usr/sbin:/usr/bin:/usr/local/bin"):
        return Path(found)
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip(f"{package} is not installed, and this is no Debian to download it from")

    def unpack(folder: Path) -> None:
        run_tool(["apt-get", "download", package], what=f"downloading {package}", cwd=folder)
        [archive] = folder.glob("*.deb")
        run_tool(["dpkg-deb", "-x", archive, folder], what=f"unpacking {package}")
        archive.unlink()

    try:
        return cached_folder(f"debian-{package}", "1", unpack, report=print, note="downloading it from Debian") / path
    except FramematchError as error:
        pytest.skip(f"{package} is not installed, and cannot be downloaded: {error.message}")


@dataclass
class Api:
    """The API with nothing but the event stream, over real connections."""

    url: str
    hub: EventHub
    stop: asyncio.Event
    sent: int = 0

    def publish(self, count: int = 1) -> None:
        for _ in range(count):
            self.hub.ring.append(event(0, self.sent))
            self.sent += 1
        self.hub.ring.publish()


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    async with stream_app(kafka, run=False, stream_send_timeout_s=0.3) as (app, hub):
        hub.ring.start(positions(0))
        async with serving(app, ApiSettings(port=0), drain_s=5.0) as url:
            yield Api(url, hub, app.state.services.stop)
            app.state.services.stop.set()


@contextmanager
def nginx(url: str, folder: Path) -> Iterator[str]:
    config, port = folder / "nginx.conf", ReservedPort()
    config.write_text(NGINX.format(folder=folder, port=port.number, url=url))
    with started([program("nginx", "usr/sbin/nginx"), "-p", folder, "-c", config], port):
        yield f"http://{port.address}"


@contextmanager
def caddy(url: str, folder: Path) -> Iterator[str]:
    config, port = folder / "Caddyfile", ReservedPort()
    config.write_text(CADDY.format(port=port.number, url=url))
    with started([program("caddy", "usr/bin/caddy"), "run", "--config", config, "--adapter", "caddyfile"], port):
        yield f"http://{port.address}"


@contextmanager
def started(command: list[str | Path], port: ReservedPort) -> Iterator[None]:
    environment = {"HOME": "/tmp", "PATH": "/usr/bin:/bin"}  # noqa: S108  # Caddy wants one, and stores nothing here
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port.address), message=f"{command[0]} listens")
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("proxy", [nginx, caddy])
async def test_each_event_passes_a_proxy_with_its_default_buffering_at_once(
    api: Api, proxy: Callable[[str, Path], AbstractContextManager[str]], tmp_path: Path
) -> None:
    clients_max = 8  # more than a browser opens to a host
    with proxy(api.url, tmp_path) as url:
        async with httpx.AsyncClient(base_url=url, timeout=10) as http, AsyncExitStack() as stack:
            parsers, chunks = [SseParser() for _ in range(clients_max)], []
            for parser in parsers:
                answer = await stack.enter_async_context(
                    http.stream("GET", PATH, headers={"Accept-Encoding": "gzip, identity"})
                )
                assert answer.headers["content-type"].startswith("text/event-stream")
                chunks.append(answer.aiter_bytes())
                parser.feed(await anext(chunks[-1]))
                assert parser.last_id
            for number in range(3):  # the next one is only published once this one is there
                api.publish()
                for parser, stream in zip(parsers, chunks, strict=True):
                    found = parser.feed(await anext(stream))
                    assert [f'"sequence":{number},' in one.data for one in found] == [True]


async def test_a_stop_ends_open_streams_within_the_time_to_drain(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.url, timeout=10) as http, http.stream("GET", PATH) as answer:
        stream = answer.aiter_bytes()
        await anext(stream)
        api.stop.set()
        rest = b"".join([chunk async for chunk in stream])
    assert rest.endswith(b'event: end\ndata: {"reason":"shutdown"}\n\n')


async def test_a_client_that_reads_nothing_loses_its_connection_and_the_others_get_all(api: Api) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    frozen = socket.socket()
    frozen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    frozen.connect((host, int(port)))
    frozen.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    ended = api.hub.metrics.ended.labels("frozen")._value  # noqa: SLF001  # the client library has no other way
    async with httpx.AsyncClient(base_url=api.url, timeout=10) as http, http.stream("GET", PATH) as answer:
        parser, stream = SseParser(), answer.aiter_bytes()
        found = parser.feed(await anext(stream))
        await eventually(lambda: api.hub.metrics.clients._value.get() == 2)  # noqa: SLF001  # the same
        while not ended.get():
            api.publish(200)
            while len(found) < api.sent:
                found += parser.feed(await anext(stream))
        await eventually(lambda: api.hub.metrics.clients._value.get() == 1)  # noqa: SLF001  # the same
    with frozen:
        frozen.settimeout(5)
        received = b"".join(iter(lambda: frozen.recv(1_000_000), b""))
    assert received.count(b"event: match") < api.sent
    assert b"0\r\n\r\n" not in received[-10:]  # cut off, not finished
