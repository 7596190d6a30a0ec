"""Settings become cameras."""

from pathlib import Path
from typing import Any

import pytest

from edge.cameras import cameras_from
from edge.worker.readers import check_files
from framematch.core.errors import UsageError
from framematch.core.settings import EdgeSettings


def settings(**values: Any) -> EdgeSettings:
    return EdgeSettings.model_validate(values)


def test_a_camera_uses_the_values_of_the_section_that_it_does_not_set() -> None:
    cameras = cameras_from(
        settings(
            fps=2,
            max_side=320,
            jpeg_quality=70,
            cameras={"till-1": "rtsp://h/1", "till-2": {"source": "rtsp://h/2", "fps": 10, "max_side": 1280}},
        )
    )
    found = [(camera.id, camera.fps, camera.max_side, camera.jpeg_quality) for camera in cameras]
    assert found == [("till-1", 2, 320, 70), ("till-2", 10, 1280, 70)]


def test_allowed_hosts_are_part_of_http_sources_only() -> None:
    sources = {"web": "https://h/live.m3u8", "till-1": "rtsp://h/1"}
    before = cameras_from(settings(cameras=sources))
    after = cameras_from(settings(cameras=sources, allowed_hosts=["cdn.h"]))
    assert after[0].allowed_hosts == ("cdn.h",)
    assert after[1] == before[1]


def test_timeouts_can_be_set_for_one_camera() -> None:
    slow = {"source": "rtsp://h/2", "open_timeout_s": 30, "read_timeout_s": 20, "watchdog_s": 120}
    usual, own = cameras_from(settings(cameras={"till-1": "rtsp://h/1", "till-2": slow}))
    assert (usual.open_timeout_s, usual.read_timeout_s, usual.watchdog_s) == (None, None, None)
    assert (own.open_timeout_s, own.read_timeout_s, own.watchdog_s) == (30, 20, 120)


def test_the_colours_of_video_that_names_none_can_be_set_for_one_camera() -> None:
    old = {"source": "rtsp://h/2", "untagged_colours": "bt601"}
    cameras = cameras_from(settings(cameras={"till-1": "rtsp://h/1", "till-2": old}))
    assert [camera.untagged_colours for camera in cameras] == ["auto", "bt601"]


def test_no_cameras_at_all_says_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"no cameras are set\. Give --camera"):
        cameras_from(settings())


def test_a_mistake_names_its_camera() -> None:
    with pytest.raises(UsageError, match="camera till-9: no file or folder"):
        cameras_from(settings(cameras={"till-9": "missing.mp4"}))


def test_a_file_that_is_no_video_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video", encoding="utf-8")
    section = settings(cameras={"till-1": str(tmp_path / "notes.mp4")})
    with pytest.raises(UsageError, match=r"camera till-1: .*notes\.mp4 is not a video that can be decoded"):
        check_files(cameras_from(section))
