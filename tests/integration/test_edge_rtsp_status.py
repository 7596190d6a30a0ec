"""An RTSP server that refuses a viewer: the status that it answers is the reason that operators see."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edge.worker.video import open_stream
from framematch.core.errors import CameraUnavailableError

CANARY = "canary-4711"
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:video\r\n"
)


@contextmanager
def refusing(method: str, status: str) -> Iterator[int]:
    """The port of a server that answers `status` to `method`, and is content with all others."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as stream:
            while request := stream.readline():
                headers = list(iter(stream.readline, b"\r\n"))
                number = next(line for line in headers if line.lower().startswith(b"cseq"))
                name = request.split()[0].decode()
                body = SDP if name == "DESCRIBE" and name != method else ""
                about = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n" if body else ""
                answer = f"RTSP/1.0 {status if name == method else '200 OK'}\r\n".encode() + number
                stream.write(answer + f"{about}\r\n{body}".encode())
                stream.flush()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        ("SETUP", "453 Not Enough Bandwidth", "453: the camera has too many viewers"),
        ("DESCRIBE", "453 Not Enough Bandwidth", "453: the camera has too many viewers"),
        ("DESCRIBE", "503 Service Unavailable", "503: the camera is busy or not ready"),
        ("DESCRIBE", "500 Internal Server Error", "the server answers 500"),
        ("SETUP", "461 Unsupported Transport", "461: the camera does not offer this transport: set rtsp_transport"),
        ("DESCRIBE", "404 Stream Not Found", "404: no such stream"),
    ],
)
def test_the_status_of_an_rtsp_server_is_the_reason(
    method: str, status: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with refusing(method, status) as port, pytest.raises(CameraUnavailableError) as raised:
        open_stream(f"rtsp://user:{CANARY}@127.0.0.1:{port}/stream", open_timeout_s=10, read_timeout_s=10)
    assert raised.value.message == reason
    assert capfd.readouterr() == ("", "")
