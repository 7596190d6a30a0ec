"""Frames that nobody samples and no other frame needs are not decoded; what is sampled stays the same."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edge.cameras import Camera
from edge.link.shared_buffer import Counts, SharedBuffer
from edge.sources import Source
from edge.worker import video_reader
from edge.worker.capture import Capture, CapturedFrame
from edge.worker.clock import CaptureClock
from edge.worker.gate import Gate, GateDecision
from edge.worker.hardware import SOFTWARE
from edge.worker.sampler import Sampler
from edge.worker.slot import NewestFrameSlot
from edge.worker.source import MaySkip, RawFrame, Reader, skips_nothing
from edge.worker.streams import choose_video
from edge.worker.video import open_file
from edge.worker.video_reader import Live, VideoReader
from framematch.core.arrays import Pixels
from framematch.core.settings import MotionSettings
from tests.unit.edge.worker.video_files import FPS, write_video

FRAMES = 200
NO_B = "bframes=0:scenecut=0"
PYRAMID = "bframes=3:b-adapt=0:b-pyramid=normal:scenecut=0:keyint=50"
PLAIN_B = "bframes=2:b-adapt=0:b-pyramid=none:scenecut=0:keyint=50"
OPEN_GOP = "bframes=3:b-adapt=0:open-gop=1:scenecut=0:keyint=40"
H265 = "bframes=3:b-adapt=0:scenecut=0:keyint=50:log-level=none"
H265_LAYERS = f"{H265}:temporal-layers=3"


def pictures(count: int = FRAMES) -> list[Pixels]:
    """A ramp that moves, with noise: every frame differs from all others."""
    noise = np.random.default_rng(1).integers(0, 40, (count, 48, 64, 3), np.uint8)
    ramp = np.linspace(0, 200, 64, dtype=np.uint8)[None, :, None]
    return [np.roll(ramp, number, axis=1) + noise[number] for number in range(count)]


def video(path: Path, x26x: str, *, codec: str = "libx264", container: str = "mp4", **more: Any) -> Path:
    parameters = {"x265-params" if codec == "libx265" else "x264-params": x26x} if x26x else {}
    return write_video(path, codec=codec, container=container, pictures=pictures(), options=parameters, **more)


@dataclass
class Sampled:
    """What a sampler took of a video: the time and the pixels of each frame; and how many frames there were."""

    frames: list[tuple[float, bytes]] = field(default_factory=list)
    all: int = 0
    skipped: int = 0
    damaged: int = 0


def digest(raw: RawFrame) -> bytes:
    return sha256(raw.colour(640).tobytes()).digest()


def sample(path: Path, fps: float, *, skip: bool, key_frames_only: bool = False) -> Sampled:
    """Sample a file as `Capture` does."""
    found, sampler = Sampled(), Sampler(fps)
    may_skip = sampler.is_surely_not_due if skip else skips_nothing
    with closing(open_file(path, may_skip=may_skip, key_frames_only=key_frames_only)) as reader:
        while (grabbed := reader.grab()) is not None:
            found.all += 1
            found.skipped += grabbed.skipped
            found.damaged += grabbed.damaged
            if grabbed.skipped or grabbed.damaged:
                continue
            assert grabbed.media_s is not None
            if sampler.accept(grabbed.media_s):
                raw = reader.retrieve()
                assert raw is not None
                found.frames.append((grabbed.media_s, digest(raw)))
    return found


def assert_same(path: Path, fps: float, *, key_frames_only: bool = False) -> Sampled:
    whole = sample(path, fps, skip=False, key_frames_only=key_frames_only)
    found = sample(path, fps, skip=True, key_frames_only=key_frames_only)
    assert found.frames == whole.frames
    assert (found.all, found.damaged, whole.skipped) == (whole.all, 0, 0)
    return found


@pytest.mark.parametrize("fps", [1, 2.7, 5, 10, 20, 100])
@pytest.mark.parametrize("x264", [PYRAMID, PLAIN_B, OPEN_GOP])
def test_the_same_frames_are_sampled_at_every_rate(tmp_path: Path, x264: str, fps: float) -> None:
    found = assert_same(video(tmp_path / "video", x264), fps)
    assert len(found.frames) > 7
    assert (found.skipped > 0) == (fps < FPS)


@pytest.mark.parametrize("x265", [H265, H265_LAYERS])
def test_of_h265_too(tmp_path: Path, x265: str) -> None:
    assert assert_same(video(tmp_path / "video", x265, codec="libx265"), 5).skipped > FRAMES // 5


@pytest.mark.parametrize("container", ["matroska", "mpegts", "h264"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_in_every_container_that_has_times(tmp_path: Path, codec: str, container: str) -> None:
    if codec == "libx265":
        container = container.replace("h264", "hevc")
    x26x = PYRAMID if codec == "libx264" else H265
    found = assert_same(video(tmp_path / "video", x26x, codec=codec, container=container), 5)
    assert (found.skipped > 0) == (container in ("matroska", "mpegts"))


def test_most_frames_that_are_not_needed_are_skipped(tmp_path: Path) -> None:
    """Of 3 B-frames, 2 are used by no other: half of all frames, of which few are sampled or come while one is due."""
    found = assert_same(video(tmp_path / "video", PYRAMID), 5)
    assert found.skipped > 0.3 * (FRAMES - 64)


def test_frames_that_come_at_irregular_times_are_sampled_as_before(tmp_path: Path) -> None:
    gaps = np.random.default_rng(2).integers(1, 6, FRAMES)
    path = video(tmp_path / "video", PYRAMID, times=np.cumsum(gaps).tolist())
    assert assert_same(path, 5).skipped > 0


@pytest.mark.parametrize(("x264", "codec"), [(NO_B, "libx264"), ("", "mpeg4")])
def test_where_every_frame_is_needed_none_is_skipped(tmp_path: Path, x264: str, codec: str) -> None:
    assert assert_same(video(tmp_path / "video", x264, codec=codec), 5).skipped == 0


def test_the_fields_of_interlaced_video_stay_together(tmp_path: Path) -> None:
    found = assert_same(video(tmp_path / "video", f"{PYRAMID}:tff=1"), 5)
    assert found.skipped == 0


def test_of_pictures_that_each_stand_alone_only_those_sampled_are_decoded(tmp_path: Path) -> None:
    path = video(tmp_path / "video", "", codec="mjpeg", container="matroska", pixels="yuvj420p")
    found = assert_same(path, 5)
    assert found.skipped == FRAMES - len(found.frames)


def test_with_key_frames_only_those_that_are_not_sampled_are_not_decoded_either(tmp_path: Path) -> None:
    path = video(tmp_path / "video", "keyint=5:scenecut=0:bframes=0")
    found = assert_same(path, 1, key_frames_only=True)
    assert (len(found.frames), found.skipped) == (8, 32)


class LiveVideo:
    """A file as a live stream on a clock of its own: packets arrive at their decoding time, up to `jitter_s` later."""

    def __init__(self, path: Path, stack: ExitStack, jitter_s: float) -> None:
        self.now_s = 1_000.0
        self._container: Any = stack.enter_context(av.open(str(path)))
        self._random = np.random.default_rng(3)
        self._jitter_s = jitter_s
        self.format = self._container.format
        self.start_time_realtime = None

    def monotonic(self) -> float:
        return self.now_s

    def demux(self, stream: av.VideoStream) -> Iterator[Any]:
        for packet in self._container.demux(stream):
            if packet.dts is None:
                continue
            arrives_s = 1_001.0 + float(packet.dts * packet.time_base) + self._random.uniform(0, self._jitter_s)
            self.now_s = max(self.now_s, arrives_s)
            yield packet

    def reader(self, may_skip: MaySkip) -> Reader:
        live: Any = self
        return VideoReader(
            live,
            choose_video(self._container),
            Live(5.0, None),
            ExitStack(),
            decoding=SOFTWARE,
            may_skip=may_skip,
            key_frames_only=False,
            untagged_colours="auto",
        )


@dataclass
class Captured:
    """What a camera's process took of a live stream: capture times, pixels, and its counts."""

    times_us: list[int]
    pixels: list[bytes]
    counts: Counts


def capture(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, skip: bool, jitter_s: float = 0.0, motion: bool = False
) -> Captured:
    buffer = SharedBuffer.create(1_000)
    camera = Camera("till-1", Source("stream", "rtsp://camera/1"), fps=5, max_side=640, jpeg_quality=85,
                    motion=MotionSettings(gate=motion))  # fmt: skip
    gate = Gate(camera)
    times_us: list[int] = []
    pixels: list[bytes] = []

    def record(raw: RawFrame, at_s: float) -> GateDecision:
        times_us.append(buffer.counts().last_captured_us)
        pixels.append(digest(raw))
        return gate.evaluate(raw, at_s)

    with ExitStack() as stack:
        stack.callback(buffer.close)
        live = LiveVideo(path, stack, jitter_s)
        monkeypatch.setattr(video_reader, "time", live)
        open_source: Callable[[MaySkip], Reader] = live.reader if skip else lambda _: live.reader(skips_nothing)
        slot = NewestFrameSlot[CapturedFrame]()
        stack.callback(slot.close)
        Capture(
            camera,
            open_source,
            gate=record,
            buffer=buffer,
            slot=slot,
            send=lambda _message: None,
            max_lag_s=5.0,
            clock=CaptureClock(wall_us=lambda: round(live.now_s * 1e6), monotonic_s=live.monotonic),
        ).run()
        return Captured(times_us, pixels, buffer.counts())


@pytest.mark.parametrize("motion", [False, True])
def test_a_live_stream_gives_the_same_frames_at_the_same_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, motion: bool
) -> None:
    path = video(tmp_path / "video", PYRAMID)
    whole = capture(path, monkeypatch, skip=False, motion=motion)
    found = capture(path, monkeypatch, skip=True, motion=motion)
    assert len(found.pixels) == FRAMES // FPS * 5
    assert found.pixels == whole.pixels
    assert np.abs(np.subtract(found.times_us, whole.times_us)).max() <= 1
    for name in ("source_frames", "sampled", "still", "captured", "corrupt"):
        assert getattr(found.counts, name) == getattr(whole.counts, name), name


def test_jitter_moves_capture_times_by_less_than_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = video(tmp_path / "video", PYRAMID)
    whole = capture(path, monkeypatch, skip=False, jitter_s=0.01)
    found = capture(path, monkeypatch, skip=True, jitter_s=0.01)
    assert found.counts.source_frames == whole.counts.source_frames
    assert np.diff(found.times_us).min() > 0
    whole_us = dict(zip(whole.pixels, whole.times_us, strict=True))
    common = [
        (at_us, whole_us[one]) for one, at_us in zip(found.pixels, found.times_us, strict=True) if one in whole_us
    ]
    assert len(common) > 0.8 * len(whole.pixels)
    assert np.abs(np.diff(common)).max() < 10_000
