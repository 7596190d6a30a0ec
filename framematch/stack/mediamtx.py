"""MediaMTX as the RTSP server: from PATH, else built once from its Go module."""

import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from framematch.core.errors import CameraUnavailableError
from framematch.stack.cache import Report, cached_folder
from framematch.stack.golang import GoModule, build_program
from framematch.stack.process import Command
from framematch.stack.server import LOOPBACK, ReservedPort, Server

MODULE = GoModule(
    "github.com/bluenviron/mediamtx", "v1.13.1", checksum="h1:Sdqz8bSxnEC4TPuXw+cNAZBbqhae3utqCLWpnfMhyus="
)
_PING_TIMEOUT_S = 2.0

CONFIGURATION = """\
logLevel: info
logDestinations: [stdout]
rtsp: yes
rtspTransports: [tcp, udp]
rtspAddress: {address}
rtpAddress: {rtp}
rtcpAddress: {rtcp}
rtmp: no
hls: no
webrtc: no
srt: no
paths:
  all_others:
"""


def free_rtp_port() -> int:
    """An even UDP port that is free now, like the next one: RTP uses both (RFC 3550, section 11)."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp,
        ):
            rtp.bind((LOOPBACK, 0))
            port: int = rtp.getsockname()[1]
            with suppress(OSError):  # the next port is in use
                rtcp.bind((LOOPBACK, port + 1))
                if port % 2 == 0:
                    return port


def ping(url: str) -> None:
    """Send RTSP OPTIONS over TCP.

    Raises:
        CameraUnavailableError: there is no answer with RTSP status 200.
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
        raise CameraUnavailableError(f"the server at {url} does not speak RTSP", hint="See its log")


class MediaMtxServer(Server):
    """An RTSP server for all publishers and readers on this machine; `url` is its root."""

    name: ClassVar[str] = "mediamtx"

    def __init__(self, folder: Path) -> None:
        self._port = ReservedPort()
        super().__init__(folder, f"rtsp://{self._port.address}", [self._port])
        self.url = self.address
        """`rtsp://127.0.0.1:PORT`; append a slash and the name of a stream."""
        self._configuration = self.folder / "mediamtx.yml"
        self._rtp_port = free_rtp_port()

    def install(self, report: Report = print) -> None:
        """See `install_mediamtx`."""
        install_mediamtx(report)

    def configure(self) -> None:
        """Write mediamtx.yml."""
        rtp, rtcp = (f"{LOOPBACK}:{port}" for port in (self._rtp_port, self._rtp_port + 1))
        text = CONFIGURATION.format(address=self._port.address, rtp=rtp, rtcp=rtcp)
        self._configuration.write_text(text, encoding="utf-8")

    def command(self) -> Command:
        """MediaMTX with our configuration."""
        return Command((install_mediamtx(), str(self._configuration)))

    def ping(self) -> None:
        """See `framematch.stack.mediamtx.ping`."""
        ping(self.url)


def install_mediamtx(report: Report = print) -> str:
    """The path of `mediamtx`: from PATH, else from the cache, where it is built when missing."""
    if found := shutil.which("mediamtx"):
        return found

    def build(folder: Path) -> None:
        build_program(MODULE, folder / "mediamtx", complete=_complete, report=report)

    note = f"fetching and building MediaMTX {MODULE.version} from its Go module (usually 40 s to 2 minutes)"
    return str(cached_folder("mediamtx", MODULE.key, build, report=report, note=note) / "mediamtx")


def _complete(source: Path) -> None:
    """Create two files that `go generate` would download; HLS is disabled."""
    (source / "internal" / "core" / "VERSION").write_text(MODULE.version, encoding="utf-8")
    (source / "internal" / "servers" / "hls" / "hls.min.js").touch()
