"""What a server sends as a playlist cannot make the edge read files of its own machine."""

import contextlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import pytest

from edge.sources import parse_source
from edge.worker.ffmpeg import configure_opencv
from edge.worker.readers import Reader, open_reader
from framematch.core.errors import CameraUnavailableError
from tests.integration.edge_service import write_video

pytestmark = pytest.mark.integration

PLAYLIST = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{segment}\n#EXT-X-ENDLIST\n"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the URL at which it is served, with one second of video in `segment.ts`."""
    with av.open(str(write_video(tmp_path / "video.mp4", seconds=1))) as source:
        video = source.streams.video[0]
        with av.open(str(tmp_path / "segment.ts"), "w", format="mpegts") as segment:
            stream = segment.add_stream_from_template(video)
            for packet in source.demux(video):
                if packet.dts is not None:
                    packet.stream = stream
                    segment.mux(packet)
    handler = partial(_Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def opened(monkeypatch: pytest.MonkeyPatch, url: str, *, operators_options: str = "") -> Reader:
    for name in ("OPENCV_FFMPEG_LOGLEVEL", "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"):
        monkeypatch.setenv(name, "8")
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", operators_options)  # undone after the test, with our changes
    configure_opencv(rtsp_transport="tcp", read_timeout_s=5)
    return open_reader(parse_source(url), fps=5, open_timeout_s=5, read_timeout_s=5)


def play(reader: Reader) -> int:
    """The frames until the stream ends, which is a failure for a live source."""
    frames = 0
    with contextlib.suppress(CameraUnavailableError):
        while reader.grab() is not None:
            frames += 1
    reader.close()
    return frames


def test_a_playlist_of_the_server_is_played(monkeypatch: pytest.MonkeyPatch, web: tuple[Path, str]) -> None:
    folder, url = web
    (folder / "good.m3u8").write_text(PLAYLIST.format(segment="segment.ts"), encoding="utf-8")
    assert play(opened(monkeypatch, f"{url}/good.m3u8")) == 30


def test_a_playlist_that_names_a_local_file_is_refused(monkeypatch: pytest.MonkeyPatch, web: tuple[Path, str]) -> None:
    folder, url = web
    (folder / "bad.m3u8").write_text(PLAYLIST.format(segment=f"file://{folder}/segment.ts"), encoding="utf-8")
    with pytest.raises(CameraUnavailableError, match="cannot be opened"):
        opened(monkeypatch, f"{url}/bad.m3u8")
    # The same playlist plays where an operator allows it: it is the list of protocols that refuses it.
    allowed = opened(monkeypatch, f"{url}/bad.m3u8", operators_options="protocol_whitelist;file,http,tcp,hls")
    assert play(allowed) == 30
