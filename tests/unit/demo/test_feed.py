"""A rendered feed shows its schedule."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from demo import timecode
from demo.dataset import DATA_DIR, load_photos
from demo.feed import draw_frames, render_feed
from demo.schedule import FeedSchedule, Segment, View

PHOTO = load_photos()[0]
PLAN = FeedSchedule(camera=3, fps=15, seconds=2, segments=(Segment(4, 24, 4, PHOTO),))


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FRAMEMATCH_CACHE_DIR", str(tmp_path))


def test_every_frame_of_the_file_has_its_number() -> None:
    with av.open(str(render_feed(PLAN))) as feed:
        pictures = [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in feed.decode(video=0)]
    assert [timecode.read(picture) for picture in pictures] == [(3, number) for number in range(30)]


def test_the_file_is_h264_of_640_x_360_at_15_frames_a_second() -> None:
    with av.open(str(render_feed(PLAN))) as feed:
        stream = feed.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 640, 360)
        assert (stream.pix_fmt, stream.average_rate) == ("yuv420p", Fraction(15))


def test_packets_are_in_presentation_order_with_a_keyframe_at_least_each_second() -> None:
    with av.open(str(render_feed(PLAN))) as feed:
        packets = [packet for packet in feed.demux(video=0) if packet.dts is not None]
    keyframes = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert keyframes[0] == 0
    assert max(np.diff([*keyframes, PLAN.frames])) <= 15
    assert all(packet.pts == packet.dts for packet in packets)


def test_the_centre_shows_the_belt_when_empty_and_the_photo_when_shown() -> None:
    centres = [picture[:, 140:500].astype(float) for picture in draw_frames(PLAN)]
    empty = centres[0]
    for number, centre in enumerate(centres):
        changed = (np.abs(centre - empty).max(axis=2) > 40).mean()
        view = PLAN.view(number)
        assert (changed < 0.01) if view is View.EMPTY else (changed > 0.6) if view is View.SHOWN else True


def test_the_same_schedule_gives_the_same_pixels() -> None:
    assert all(np.array_equal(*pair) for pair in zip(draw_frames(PLAN), draw_frames(PLAN), strict=True))


def test_a_rendered_feed_is_taken_from_the_cache() -> None:
    path = render_feed(PLAN)
    path.write_bytes(b"kept")
    assert render_feed(PLAN).read_bytes() == b"kept"


def test_a_photo_with_other_bytes_makes_another_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    copy = data / PHOTO.file
    copy.parent.mkdir(parents=True)
    original = DATA_DIR / PHOTO.file
    copy.write_bytes(original.read_bytes())
    first = render_feed(PLAN, data_dir=data)
    copy.write_bytes(original.read_bytes() + b"\0")
    assert render_feed(PLAN, data_dir=data) != first


def test_an_interrupted_render_leaves_no_file(tmp_path: Path) -> None:
    def interrupt(done: int, _all: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_feed(PLAN, progress=interrupt)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_progress_counts_every_frame() -> None:
    seen: list[tuple[int, int]] = []
    render_feed(PLAN, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 30) for number in range(1, 31)]
