"""What a dry run reports of a camera's frames and statistics."""

import json
import re
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from edge.cameras import Camera
from edge.dry_run import FrameCounter, ProbeResult, picture_names
from edge.metrics import EdgeMetrics
from edge.sinks import Outgoing
from edge.snapshot import StatsSnapshot
from edge.sources import Source
from edge.stats import CameraStats
from framematch.cli.probe_table import print_probe_results
from framematch.core.frames import Frame, Region

CANARY = "hunter2"
CAMERA = Camera("till-1", Source("stream", f"rtsp://u:{CANARY}@h/[1]"), fps=5.0, max_side=640, jpeg_quality=85)


def outgoing(grabbed_s: float, size_bytes: int, regions: tuple[Region, ...] = ()) -> Outgoing:
    return Outgoing(Frame("till-1", 0, 0, regions), b"x" * size_bytes, grabbed_s)


def snapshot(*, source_frames: int, last_frame_at_s: float | None, closed_because: str | None = None) -> StatsSnapshot:
    return StatsSnapshot(
        at_s=0.0, source_frames=source_frames, published=0, drops={"overrun": 2}, reconnects=0,
        last_frame_at_s=last_frame_at_s, closed_because=closed_because, still=3, clock="rtcp", resolution=(1920, 1080),
    )  # fmt: skip


async def result_of(frames: list[Outgoing], stats: StatsSnapshot, camera: Camera = CAMERA) -> ProbeResult:
    counter = FrameCounter(CameraStats("till-1", EdgeMetrics(CollectorRegistry()).of("till-1"), lambda: None))
    for frame in frames:
        await counter.put(frame)
    return counter.result(camera, stats)


async def test_rates_are_those_of_the_source_from_its_first_frame_to_its_last() -> None:
    frames = [outgoing(100.0 + second, 1_000) for second in range(10)]
    result = await result_of(frames, snapshot(source_frames=100, last_frame_at_s=109.9))
    assert result.source_fps == pytest.approx(10)
    assert result.frames_per_s == pytest.approx(1)
    assert result.bytes_per_s == pytest.approx(1_000)
    assert (result.frames, result.jpeg_bytes, result.state) == (10, 1_000, "online")


async def test_a_frame_without_regions_counts_as_one_region() -> None:
    frames = [outgoing(0.0, 1), outgoing(1.0, 1, ((0, 0, 1, 1),) * 4)]
    assert (await result_of(frames, snapshot(source_frames=2, last_frame_at_s=1.0))).regions_per_frame == 2.5


async def test_a_single_frame_has_a_size_and_no_rate() -> None:
    result = await result_of([outgoing(5.0, 7)], snapshot(source_frames=1, last_frame_at_s=5.0, closed_because="ended"))
    assert (result.frames, result.jpeg_bytes, result.state) == (1, 7, "ended")
    assert (result.source_fps, result.frames_per_s, result.bytes_per_s) == (None, None, None)


async def test_the_state_of_a_camera_without_frames_is_the_reason() -> None:
    result = await result_of([], snapshot(source_frames=0, last_frame_at_s=None, closed_because="connection refused"))
    assert not result.has_frames
    assert (result.state, result.jpeg_bytes, result.regions_per_frame) == ("connection refused", None, None)


async def test_the_table_names_each_camera_without_its_password_and_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    frames = [outgoing(100.0 + second, 1_000_000) for second in range(10)]
    good = await result_of(frames, snapshot(source_frames=100, last_frame_at_s=109.9))
    bad = await result_of([], snapshot(source_frames=0, last_frame_at_s=None, closed_because="[refused]"))
    print_probe_results([good, bad], as_json=False)
    printed = capsys.readouterr().out
    assert re.search(r"rtsp://\*\*\*@h/\[1\] +online; dropped: overrun 2 +1920x1080", printed)
    assert "[refused]" in printed
    assert "All cameras: 1.00 MB a second, 86.4 GB a day." in printed
    assert "No frame came from till-1." in printed
    assert CANARY not in printed


async def test_json_has_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    result = await result_of([outgoing(0.0, 10), outgoing(1.0, 20)], snapshot(source_frames=2, last_frame_at_s=1.0))
    print_probe_results([result], as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [(line["camera"], line["jpeg_bytes"], line["still_frames"]) for line in found] == [("till-1", 15, 3)]


async def test_a_file_that_fails_on_the_way_has_failed_and_a_stream_is_tried_again() -> None:
    broken = snapshot(source_frames=1, last_frame_at_s=1.0, closed_because="not a video that can be decoded")
    assert not (await result_of([outgoing(0.0, 1)], broken)).failed
    file = replace(CAMERA, source=Source("file", "a.mp4"))
    assert (await result_of([outgoing(0.0, 1)], broken, file)).failed
    for reason in (None, "ended", "stopped"):
        assert not (await result_of([], replace(broken, closed_because=reason), file)).failed


@pytest.mark.parametrize(
    ("cameras", "names"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "A"], ["a", "A-2"]),
        (["a", "a-regions"], ["a", "a-regions-2"]),
        (["a-regions", "a"], ["a-regions", "a-2"]),
        (["a", "A", "a-2"], ["a", "A-2", "a-2-2"]),
    ],
)
def test_no_picture_of_a_camera_overwrites_another(cameras: list[str], names: list[str]) -> None:
    assert list(picture_names(cameras).values()) == names
