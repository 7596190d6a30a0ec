"""Packets are a sign of life: a camera whose key frames are minutes apart is not opened again, one without any is."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edge.worker import video_reader
from edge.worker.hardware import SOFTWARE
from edge.worker.source import skips_nothing
from edge.worker.streams import choose_video
from edge.worker.video_reader import Live, VideoReader
from framematch.core.errors import CameraUnavailableError
from tests.unit.edge.worker.video_files import write_video

READ_TIMEOUT_S = 5.0
WATCHDOG_S = 20.0
MINUTE = 60


class Clock:
    """Time that passes with packets only."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s


class LiveContainer:
    """A file as a live stream with one packet a second, from packet `start` on; `noise` replaces their data."""

    def __init__(self, container: Any, clock: Clock, *, start: int, noise: bool) -> None:
        self.format = container.format
        self.start_time_realtime = None
        self._container = container
        self._clock = clock
        self._start = start
        self._noise = noise

    def demux(self, stream: av.VideoStream) -> Iterator[Any]:
        for number, packet in enumerate(self._container.demux(stream)):
            if number < self._start or not packet.size:
                continue
            self._clock.now_s += 1.0
            yield damaged(packet) if self._noise else packet


def damaged(packet: Any) -> Any:
    noise = np.random.default_rng(packet.pts).integers(0, 256, packet.size, np.uint8).tobytes()
    other = av.Packet(noise)
    for name in ("pts", "dts", "time_base", "stream", "is_keyframe"):
        setattr(other, name, getattr(packet, name))
    return other


class Played:
    """What a reader gave: seconds since the start of each picture and sign of life, and how it ended."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        path: Path,
        *,
        key_frames_only: bool = True,
        start: int = 0,
        noise: bool = False,
    ) -> None:
        clock = Clock()
        monkeypatch.setattr(video_reader, "time", clock)
        self.pictures_s: list[float] = []
        self.signs_s: list[float] = []
        self.damaged = 0
        with av.open(str(path)) as container:
            live: Any = LiveContainer(container, clock, start=start, noise=noise)
            reader = VideoReader(
                live,
                choose_video(container),
                Live(READ_TIMEOUT_S, None),
                ExitStack(),
                decoding=SOFTWARE,
                may_skip=skips_nothing,
                key_frames_only=key_frames_only,
                untagged_colours="auto",
            )
            try:
                while (grabbed := reader.grab()) is not None:
                    at_s = clock.now_s - 1_000.0
                    self.damaged += grabbed.damaged
                    if grabbed.sign_of_life:
                        self.signs_s.append(at_s)
                    elif not grabbed.damaged:
                        self.pictures_s.append(at_s)
            except CameraUnavailableError as error:
                self.end = error.message
            self.ended_s = clock.now_s - 1_000.0

    def longest_silence_s(self) -> float:
        return float(np.diff([0.0, *sorted(self.pictures_s + self.signs_s), self.ended_s]).max())


def video(path: Path, *, gop: int, seconds: int, codec: str = "libx264", b_frames: int = 0) -> Path:
    options = {
        "libx264": {"x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}:b-adapt=0"},
        "libx265": {"x265-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}:log-level=none"},
        "libvpx-vp9": {"g": str(gop), "keyint_min": str(gop), "speed": "8", "lag-in-frames": "0"},
        "mpeg4": {"g": str(gop), "sc_threshold": "1000000000"},
    }
    pictures = [np.full((32, 32, 3), 40 + number % 150, np.uint8) for number in range(seconds)]
    return write_video(path, codec=codec, container="matroska", options=options[codec], pictures=pictures)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "mpeg4"])
def test_key_frames_that_are_minutes_apart_are_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    played = Played(monkeypatch, video(tmp_path / "video", gop=2 * MINUTE, seconds=8 * MINUTE, codec=codec))
    assert played.pictures_s == [1, 121, 241, 361]
    assert (played.end, played.damaged) == ("stream ended", 0)
    assert played.longest_silence_s() < WATCHDOG_S


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_key_frame_is_given_at_once_and_not_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    path = video(tmp_path / "video", gop=MINUTE, seconds=3 * MINUTE, codec=codec, b_frames=2)
    played = Played(monkeypatch, path)
    assert played.pictures_s == pytest.approx([1, 61, 121], abs=3)  # H.265 sends it before some that it shows earlier


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "mpeg4"])
def test_what_comes_before_the_first_key_frame_gives_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    path = video(tmp_path / "video", gop=20, seconds=60, codec=codec)
    played = Played(monkeypatch, path, start=10, key_frames_only=False)
    assert played.pictures_s[0] >= 11
    assert len(played.pictures_s) >= 36


@pytest.mark.parametrize("key_frames_only", [True, False])
def test_a_stream_that_is_joined_long_before_a_key_frame_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key_frames_only: bool
) -> None:
    path = video(tmp_path / "video", gop=4 * MINUTE, seconds=5 * MINUTE)
    played = Played(monkeypatch, path, start=10, key_frames_only=key_frames_only)
    assert played.pictures_s[0] == 4 * MINUTE - 9
    assert (played.end, played.damaged) == ("stream ended", 0)
    assert played.longest_silence_s() < WATCHDOG_S


@pytest.mark.parametrize("key_frames_only", [True, False])
def test_a_stream_without_key_frames_is_a_fault_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key_frames_only: bool
) -> None:
    path = video(tmp_path / "video", gop=1_000, seconds=400)
    played = Played(monkeypatch, path, start=1, key_frames_only=key_frames_only)
    assert (played.end, played.ended_s) == ("no key frame for 300 s", 301)
    assert played.pictures_s == []


@pytest.mark.parametrize("key_frames_only", [True, False])
def test_a_stream_of_nothing_but_damage_is_a_fault_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key_frames_only: bool
) -> None:
    path = video(tmp_path / "video", gop=1 if key_frames_only else 1_000, seconds=100)
    played = Played(monkeypatch, path, noise=True, key_frames_only=key_frames_only)
    assert played.end == "no decodable frame for 15 s"
    assert played.pictures_s == []
    assert played.ended_s <= 20
