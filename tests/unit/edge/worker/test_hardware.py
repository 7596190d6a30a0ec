"""Hardware that does not work is never a dead camera: software decodes, and the camera says why."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import av
import pytest
from av.codec.hwaccel import HWAccel, hwdevices_available

from edge.worker.hardware import Decoding, find_hardware
from edge.worker.source import skips_nothing
from edge.worker.streams import choose_video
from edge.worker.video import open_file
from edge.worker.video_reader import VideoReader
from framematch.core.settings import Decode
from tests.unit.edge.worker.video_files import FPS, QUARTERS, corners, quarters, write_video


def test_software_tries_no_hardware() -> None:
    assert find_hardware("software") == (None, Decoding("software", None))


def test_what_ffmpeg_was_built_without_is_named() -> None:
    assert "vaapi" not in hwdevices_available()
    assert find_hardware("vaapi") == (None, Decoding("software", "vaapi: not in this build of FFmpeg"))


def failing(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    """Let these kinds of hardware have no device, and all others one."""

    class Device:
        def __init__(self, kind: str, **_options: Any) -> None:
            self.kind = kind

        def create(self, codec: av.Codec) -> None:
            assert codec.name == "h264"
            if self.kind in kinds:
                raise av.error.ExternalError(1, "Generic error in an external library")

    monkeypatch.setattr("edge.worker.hardware.HWAccel", Device)


@pytest.mark.parametrize(("broken", "found"), [((), "vaapi"), (("vaapi",), "cuda")])
def test_auto_takes_the_first_hardware_that_opens(
    monkeypatch: pytest.MonkeyPatch, broken: tuple[str, ...], found: str
) -> None:
    failing(monkeypatch, *broken)
    hardware, decoding = find_hardware("auto")
    assert getattr(hardware, "kind", None) == found
    assert decoding == Decoding(found, None)


def test_auto_is_software_where_nothing_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "vaapi", "cuda")
    why = "no device can be opened (Generic error in an external library)"
    assert find_hardware("auto") == (None, Decoding("software", f"vaapi: {why}; cuda: {why}"))


@pytest.mark.parametrize("decode", ["vaapi", "cuda", "auto"])
def test_without_hardware_a_video_is_decoded_as_ever(tmp_path: Path, decode: Decode) -> None:
    if find_hardware(decode)[0] is not None:
        pytest.skip("this machine has such hardware")
    path = write_video(tmp_path / "video.mp4")
    pictures = []
    for wished in ("software", decode):
        with closing(open_file(path, decode=wished)) as reader:
            assert reader.grab()
            raw = reader.retrieve()
            assert raw is not None
            pictures.append(raw.colour(640).tolist())
            assert reader.decoding.decoder == "software"
            assert (reader.decoding.reason is None) == (wished == "software")
    assert pictures[0] == pictures[1]


class Broken:
    """A video of which the first `broken` packets cannot be decoded, as with hardware that fails."""

    start_time_realtime = None

    def __init__(self, container: Any, broken: int) -> None:
        self.format = container.format
        self._container = container
        self._broken = broken

    def demux(self, stream: av.VideoStream) -> Any:
        for number, packet in enumerate(self._container.demux(stream)):
            if number < self._broken:
                noise = av.Packet(b"\0\0\0\2\x65\0")
                for name in ("pts", "dts", "time_base", "stream", "is_keyframe"):
                    setattr(noise, name, getattr(packet, name))
                yield noise
            else:
                yield packet


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_hardware_that_gives_no_picture_is_left_for_software(tmp_path: Path, container: str) -> None:
    options = {"x264-params": "bframes=0:keyint=10:scenecut=0"}
    pictures = [picture for _ in range(10) for picture in [quarters()] * 20]
    path = write_video(tmp_path / "video", container=container, pictures=pictures, options=options)
    with av.open(str(path)) as opened:
        broken: Any = Broken(opened, 150)
        reader = VideoReader(
            broken,
            choose_video(opened),
            None,
            ExitStack(),
            decoding=Decoding("cuda"),
            may_skip=skips_nothing,
            key_frames_only=False,
            untagged_colours="auto",
        )
        good = []
        while (grabbed := reader.grab()) is not None:
            if not grabbed.damaged and (raw := reader.retrieve()) is not None:
                good.append((grabbed.media_s, corners(raw.colour(640))))
        assert reader.decoding == Decoding("software", "cuda: gave no picture")
    assert len(good) == 50
    assert [corner for _, corner in good] == [list(QUARTERS)] * 50
    assert [round(at_s * FPS) for at_s, _ in good if at_s is not None] == list(range(150, 200))


def test_hardware_without_a_decoder_for_the_video_is_not_said_to_be_used(tmp_path: Path) -> None:
    with av.open(str(write_video(tmp_path / "video.mp4"))) as opened:
        reader = VideoReader(
            opened,
            choose_video(opened),
            None,
            ExitStack(),
            decoding=Decoding("cuda"),
            may_skip=skips_nothing,
            key_frames_only=False,
            untagged_colours="auto",
        )
        assert reader.decoding == Decoding("cuda")
        assert reader.grab()
        assert reader.decoding == Decoding("software", "cuda: does not decode this video (h264)")


def test_pyav_takes_a_context_that_it_reports_as_unavailable(tmp_path: Path) -> None:
    """What `allow_software_fallback` is relied on for: a device type that the build lacks."""
    with av.open(
        str(write_video(tmp_path / "video.mp4")), hwaccel=HWAccel("vaapi", allow_software_fallback=True)
    ) as it:
        assert not it.streams.video[0].codec_context.is_hwaccel
        assert sum(1 for _ in it.decode(video=0)) == 30
