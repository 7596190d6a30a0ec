"""A playlist or redirect of a web server cannot make the edge read local files or other hosts."""

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import pytest

from edge.worker.source import Reader
from edge.worker.video import open_stream
from framematch.core.errors import CameraUnavailableError
from tests.integration.edge_service import write_video

pytestmark = pytest.mark.integration

PLAYLIST = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{segment}\n#EXT-X-ENDLIST\n"
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


class Web(ThreadingHTTPServer):
    """Serves a folder, with `redirects` from paths to URLs and an optional `password`."""

    redirects: dict[str, str]
    requests: list[str]
    password: str | None = None


class _Handler(SimpleHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if target := self.server.redirects.get(self.path):
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()
        elif self.server.password and self.headers["Authorization"] != _basic(self.server.password):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"user:{password}".encode()).decode()


@contextmanager
def serving(folder: Path, host: str) -> Iterator[Web]:
    with Web((host, 0), partial(_Handler, directory=str(folder))) as server:
        server.redirects, server.requests = {}, []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def url_of(web: Web, path: str = "") -> str:
    return f"http://{web.server_address[0]!s}:{web.server_port}/{path}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With one second of video in `segment.ts`."""
    with av.open(str(write_video(tmp_path / "video.mp4", seconds=1))) as source:
        video = source.streams.video[0]
        with av.open(str(tmp_path / "segment.ts"), "w", format="mpegts") as segment:
            stream = segment.add_stream_from_template(video)
            for packet in source.demux(video):
                if packet.dts is not None:
                    packet.stream = stream
                    segment.mux(packet)
    return tmp_path


@pytest.fixture
def webs(folder: Path) -> Iterator[tuple[Web, Web]]:
    """The camera's host and another one."""
    with ExitStack() as servers:
        here, elsewhere = (servers.enter_context(serving(folder, host)) for host in (HERE, ELSEWHERE))
        yield here, elsewhere


def opened(url: str, *allowed_hosts: str) -> Reader:
    return open_stream(url, open_timeout_s=20, read_timeout_s=20, allowed_hosts=allowed_hosts)


def play(reader: Reader) -> int:
    """The frames until the stream ends, which is a failure for a live source."""
    frames = 0
    with contextlib.suppress(CameraUnavailableError):
        while reader.grab() is not None:
            frames += 1
    reader.close()
    return frames


def test_a_playlist_of_the_server_is_played(folder: Path, webs: tuple[Web, Web]) -> None:
    (folder / "good.m3u8").write_text(PLAYLIST.format(segment="segment.ts"), encoding="utf-8")
    assert play(opened(url_of(webs[0], "good.m3u8"))) == 30


@pytest.mark.parametrize("scheme", ["file://", "", "concat:", "subfile,,start,0,end,9,,:"])
def test_a_playlist_that_names_a_local_file_is_refused(folder: Path, webs: tuple[Web, Web], scheme: str) -> None:
    (folder / "bad.m3u8").write_text(PLAYLIST.format(segment=f"{scheme}/etc/hostname"), encoding="utf-8")
    with pytest.raises(CameraUnavailableError):
        opened(url_of(webs[0], "bad.m3u8"))
    assert not any("hostname" in path for path in webs[1].requests)


def test_a_playlist_whose_segment_is_on_another_host_is_refused(folder: Path, webs: tuple[Web, Web]) -> None:
    here, elsewhere = webs
    (folder / "bad.m3u8").write_text(PLAYLIST.format(segment=url_of(elsewhere, "segment.ts")), encoding="utf-8")
    with pytest.raises(CameraUnavailableError, match=r"leads to 127\.0\.0\.2, which is not among edge.allowed_hosts"):
        opened(url_of(here, "bad.m3u8"))
    assert elsewhere.requests == []
    assert play(opened(url_of(here, "bad.m3u8"), ELSEWHERE)) == 30


def test_a_redirect_to_another_host_is_refused(webs: tuple[Web, Web]) -> None:
    here, elsewhere = webs
    here.redirects["/stream"] = url_of(elsewhere, "segment.ts")
    with pytest.raises(CameraUnavailableError, match=r"leads to 127\.0\.0\.2"):
        opened(url_of(here, "stream"))
    assert elsewhere.requests == []
    assert play(opened(url_of(here, "stream"), ELSEWHERE)) == 30


def test_a_redirect_on_the_same_host_is_followed(webs: tuple[Web, Web]) -> None:
    webs[0].redirects["/stream"] = "/segment.ts"
    assert play(opened(url_of(webs[0], "stream"))) == 30


def test_user_and_password_of_the_url_are_used_and_never_shown(webs: tuple[Web, Web]) -> None:
    here, _ = webs
    here.password = "hunter2"
    url = url_of(here, "segment.ts")
    assert play(opened(url.replace("://", "://user:hunter2@"))) == 30
    with pytest.raises(CameraUnavailableError, match="401: check user and password") as refused:
        opened(url.replace("://", "://user:hunter3@"))
    assert "hunter" not in str(refused.value)


def test_a_missing_path_is_reported(webs: tuple[Web, Web]) -> None:
    with pytest.raises(CameraUnavailableError, match="404: no such stream"):
        opened(url_of(webs[0], "gone.ts"))


DEAD_LIVE = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n" + "#EXTINF:1.0,\ngone.ts\n" * 3


@pytest.mark.parametrize("playlist", [PLAYLIST.format(segment="gone.ts"), DEAD_LIVE])
def test_a_playlist_whose_segments_are_gone_is_one_line_and_nothing_else_is_printed(
    folder: Path, webs: tuple[Web, Web], capfd: pytest.CaptureFixture[str], playlist: str
) -> None:
    (folder / "dead.m3u8").write_text(playlist, encoding="utf-8")
    with pytest.raises(CameraUnavailableError, match="404: no such stream"):
        open_stream(url_of(webs[0], "dead.m3u8"), open_timeout_s=1, read_timeout_s=1)
    assert capfd.readouterr() == ("", "")


def test_a_port_without_a_server_is_reported(dead_address: str) -> None:
    with pytest.raises(CameraUnavailableError, match="connection refused"):
        opened(f"http://{dead_address}/1")


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that sends `answer` to every request."""
    with socket.create_server((HERE, 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):  # closed at the end
                while True:
                    with listener.accept()[0] as connection:
                        connection.recv(65_536)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://{HERE}:{listener.getsockname()[1]}/1"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"\0 no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_malformed_answers_are_a_failure_of_the_camera_and_no_defect(answer: bytes) -> None:
    with answering(answer) as url, pytest.raises(CameraUnavailableError, match="not understood"):
        opened(url.replace("://", "://user:hunter2@"))
