"""Over RTSP, too, frames that nobody samples and no other frame needs are not decoded."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from edge.worker.sampler import Sampler
from edge.worker.source import Reader, skips_nothing
from edge.worker.video import open_stream
from framematch.core.errors import CameraUnavailableError
from framematch.stack.mediamtx import MediaMtxServer
from tests.unit.edge.worker.video_files import write_video

pytestmark = pytest.mark.integration

FPS = 5.0
READ_FRAMES = 200
CODECS = {
    "libx264": {"x264-params": "bframes=3:b-adapt=0:b-pyramid=normal:scenecut=0:keyint=25"},
    "libx265": {"x265-params": "bframes=3:b-adapt=0:scenecut=0:keyint=25:log-level=none"},
}


@pytest.fixture(scope="module", params=list(CODECS))
def stream(
    rtsp: MediaMtxServer, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The URL of 16 s of noise, of which no frame is like another, that are repeated."""
    noise = np.random.default_rng(1).integers(0, 255, (400, 6, 8, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    path = tmp_path_factory.mktemp("video") / f"{request.param}.mp4"
    write_video(path, codec=request.param, pictures=noise, options=CODECS[request.param])
    url = f"{rtsp.url}/skipped-{request.param}"
    with publishing(path, url):
        yield url


@contextmanager
def publishing(video: Path, url: str) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-m", "demo.publisher", str(video), url, "--loop"]) as process:
        try:
            yield
        finally:
            process.kill()


@dataclass
class Read:
    """What a reader gave: of all frames that it decoded, and of those that were sampled, their times and pixels."""

    decoded: list[tuple[float, bytes]] = field(default_factory=list)
    sampled: list[tuple[float, bytes]] = field(default_factory=list)
    frames: int = 0
    skipped: int = 0


def opened(url: str, sampler: Sampler, *, skip: bool) -> Reader:
    """Open the stream, which a publisher is about to start."""
    until_s = time.monotonic() + 30
    while True:
        try:
            return open_stream(
                url,
                open_timeout_s=20,
                read_timeout_s=20,
                may_skip=sampler.is_surely_not_due if skip else skips_nothing,
            )
        except CameraUnavailableError:
            if time.monotonic() > until_s:
                raise


def read(url: str, *, skip: bool) -> Read:
    found, sampler = Read(), Sampler(FPS)
    with closing(opened(url, sampler, skip=skip)) as reader:
        while found.frames < READ_FRAMES:
            grabbed = reader.grab()
            assert grabbed is not None
            found.frames += not grabbed.sign_of_life
            found.skipped += grabbed.skipped
            if grabbed.media_s is None or grabbed.damaged:  # skipped, or the first one, of which libav knows no time
                continue
            raw = reader.retrieve()
            assert raw is not None
            one = grabbed.media_s, sha256(raw.colour(64).tobytes()).digest()
            found.decoded.append(one)
            if sampler.accept(grabbed.media_s):
                found.sampled.append(one)
    return found


def test_what_is_sampled_of_an_rtsp_stream_stays_the_same(stream: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        whole, found = threads.map(lambda skip: read(stream, skip=skip), (False, True))
    assert whole.skipped == 0
    assert found.skipped > READ_FRAMES // 5
    # Sessions count from their own start: take what a sampler that starts with the same frame takes of all frames.
    first_s, first = next(one for one in found.sampled if one[1] in {pixels for _, pixels in whole.decoded})
    start = [pixels for _, pixels in whole.decoded].index(first)
    sampler, expected = Sampler(FPS), []
    for at_s, pixels in whole.decoded[start:]:
        if sampler.accept(at_s):
            expected.append((round(at_s - whole.decoded[start][0], 3), pixels))
    got = [(round(at_s - first_s, 3), pixels) for at_s, pixels in found.sampled if at_s >= first_s]
    common = min(len(got), len(expected))
    assert common > 0.5 * READ_FRAMES / 25 * FPS
    assert got[:common] == expected[:common]
