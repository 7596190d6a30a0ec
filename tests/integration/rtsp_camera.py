"""A scripted RTSP camera: a test decides what it sends and when, what its clock shows, and which password it has."""

import base64
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np

RTP_HZ = 90_000
_NTP_EPOCH_S = 2_208_988_800  # 1970 on a clock that starts in 1900
_SSRC = 7
_PAYLOAD_TYPE = 96
_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:video\r\n"
)


def h264(count: int, *, width: int = 320, height: int = 240, gop: int = 5) -> list[list[bytes]]:
    """`count` frames, each as its NAL units; parameter sets come with each key frame."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "yuv420p", Fraction(1, 25)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "bf": "0", "g": str(gop), "slices": "1"}
    encoder.options |= {"sliced-threads": "0"}
    frames = []
    for number in range(count):
        picture = np.full((height, width, 3), 60 + number % 100, np.uint8)
        packets = encoder.encode(av.VideoFrame.from_ndarray(picture, format="bgr24"))
        frames += [[unit for unit in bytes(packet).replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
                   for packet in packets]  # fmt: skip
    return frames


@dataclass
class Session:
    """One reader that plays, for the script of the test."""

    connection: socket.socket
    stopping: threading.Event
    _sequence: int = 0
    _sent: int = 0

    def frame(self, units: Sequence[bytes], at_s: float) -> None:
        """Send one frame of stream time `at_s`."""
        for unit in units:
            last = unit is units[-1]
            header = struct.pack(
                ">BBHII",
                0x80,
                _PAYLOAD_TYPE | (0x80 if last else 0),
                self._sequence & 0xFFFF,
                round(at_s * RTP_HZ),
                _SSRC,
            )
            self._send(0, header + unit)
            self._sequence += 1

    def report(self, at_s: float, wall_s: float) -> None:
        """Send a sender report: it was `wall_s` by the camera's clock at stream time `at_s`."""
        ntp = round((wall_s + _NTP_EPOCH_S) * 2**32)
        self._send(1, struct.pack(">BBHIQIII", 0x80, 200, 6, _SSRC, ntp, round(at_s * RTP_HZ), 0, 0))

    def play(self, frames: Sequence[Sequence[bytes]], *, fps: float = 25.0, start_s: float = 0.0) -> None:
        """Send frames in real time, until they end or the reader disconnects."""
        started_s = time.monotonic()
        for number, units in enumerate(frames):
            if self.stopping.wait(started_s + number / fps - time.monotonic()):
                return
            self.frame(units, start_s + number / fps)

    def wait(self) -> None:
        """Send nothing until the test is over."""
        self.stopping.wait()

    def _send(self, channel: int, packet: bytes) -> None:
        self.connection.sendall(struct.pack(">cBH", b"$", channel, len(packet)) + packet)


Script = Callable[[Session], None]


@dataclass
class RtspCamera:
    """A camera at `url`; `script` serves each reader that plays, in a thread of its own."""

    script: Script
    password: str | None = None
    redirect: str | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    connections: int = 0
    sessions: int = 0
    teardowns: int = 0
    url: str = ""
    _threads: list[threading.Thread] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        """Answer readers until the listener is closed."""
        while not self.stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._answer, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def join(self) -> None:
        """Wait for the threads of all readers."""
        for thread in self._threads:
            thread.join(30)

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines, suppress(OSError):
            while request := _request(lines.readline):
                if self._reply(connection, *request) == "PLAY":
                    self.sessions += 1
                    listening = threading.Thread(target=self._until_teardown, args=(lines.readline,))
                    listening.start()
                    try:
                        self.script(Session(connection, self.stopping))
                    finally:
                        with suppress(OSError):  # the reader may have disconnected
                            connection.shutdown(socket.SHUT_RDWR)
                        listening.join(30)
                    return

    def _reply(self, connection: socket.socket, method: str, headers: dict[str, str]) -> str:
        status, extra, body = "200 OK", "", ""
        if self.redirect is not None and method == "DESCRIBE":
            status, extra = "302 Found", f"Location: {self.redirect}\r\n"
        elif self.password is not None and not self._knows(headers):
            status, extra = "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n'
        elif method == "DESCRIBE":
            extra, body = "Content-Type: application/sdp\r\n", _SDP
        elif method == "SETUP":
            extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        elif method == "PLAY":
            extra = "Session: 1\r\n"
        text = f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{extra}Content-Length: {len(body)}\r\n\r\n{body}"
        connection.sendall(text.encode())
        return method

    def _knows(self, headers: dict[str, str]) -> bool:
        return headers.get("authorization") == "Basic " + base64.b64encode(f"user:{self.password}".encode()).decode()

    def _until_teardown(self, readline: Callable[[], bytes]) -> None:
        with suppress(OSError, ValueError):  # the connection is closed at the end
            while line := readline():
                self.teardowns += b"TEARDOWN" in line


def _request(readline: Callable[[], bytes]) -> tuple[str, dict[str, str]] | None:
    first = readline().decode()
    headers = {}
    while line := readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return (first.split()[0], headers) if first else None


@contextmanager
def rtsp_camera(script: Script, *, password: str | None = None, redirect: str | None = None) -> Iterator[RtspCamera]:
    """A camera on a free port of this machine for the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        camera = RtspCamera(script, password, redirect)
        camera.url = f"rtsp://127.0.0.1:{listener.getsockname()[1]}/1"
        thread = threading.Thread(target=camera.serve, args=(listener,))
        thread.start()
        try:
            yield camera
        finally:
            camera.stopping.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)
            camera.join()
