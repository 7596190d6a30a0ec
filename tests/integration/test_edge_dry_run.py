"""`framematch edge --dry-run` as a real process: cameras are probed without a broker."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.integration.commands import framematch
from tests.integration.edge_service import write_images, write_video
from tests.integration.endless_camera import endless_camera
from tests.integration.rtsp_camera import rtsp_camera

pytestmark = pytest.mark.integration

PASSWORD = "hunter2-canary"


def dry_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return framematch({}, "edge", "--dry-run", *arguments)


def test_a_camera_with_a_password_is_measured_and_its_pictures_are_saved(tmp_path: Path) -> None:
    with endless_camera(PASSWORD) as camera:
        source = camera.url.replace("rtsp://", f"rtsp://user:{PASSWORD}@")
        (tmp_path / "source").write_text(source + "\n")
        done = dry_run(
            "--camera", f"till-1=@{tmp_path / 'source'}", "--seconds", "3", "--regions", "grid", "--json",
            "--out", str(tmp_path / "pictures"),
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)
    assert (result["state"], result["width"], result["height"]) == ("online", 320, 240)
    assert result["regions_per_frame"] == 4
    assert result["source_fps"] > 0
    assert result["bytes_per_s"] > 0
    assert result["source"] == camera.url.replace("rtsp://", "rtsp://***@")
    pictures = [tmp_path / "pictures" / name for name in ("till-1.jpg", "till-1-regions.jpg")]
    sent, drawn = (cv2.imread(str(picture)) for picture in pictures)
    assert sent is not None
    assert drawn is not None
    assert sent.shape == drawn.shape == (240, 320, 3)
    assert np.abs(sent.astype(int) - drawn).max() > 50
    assert PASSWORD not in done.stdout + done.stderr


def test_a_table_shows_which_cameras_fail_and_why_and_the_exit_code_is_1(tmp_path: Path, dead_address: str) -> None:
    images = write_images(tmp_path / "images", 10)
    with rtsp_camera(lambda session: session.wait(), password=PASSWORD) as camera:
        done = dry_run(
            "--camera", f"shelf={images}", "--camera", f"unreachable=rtsp://{dead_address}/x",
            "--camera", f"locked={camera.url.replace('rtsp://', 'rtsp://user:wrong-canary@')}", "--seconds", "1",
        )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    table = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "64x64" in table["shelf"]
    assert "rtsp://127.0.0.1" in table["unreachable"]
    assert "rtsp://***@127.0.0.1" in table["locked"]
    assert "No frame came from unreachable, locked." in done.stdout
    assert "a day" in done.stdout
    assert "canary" not in done.stdout + done.stderr


def test_it_ends_when_every_file_has_been_played(tmp_path: Path) -> None:
    video = write_video(tmp_path / "shelf.mp4", seconds=1)
    done = dry_run("--camera", f"shelf={video}", "--seconds", "90", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)
    assert (result["state"], result["frames"]) == ("ended", 5)


def test_ctrl_c_ends_it_early_with_the_results_so_far() -> None:
    command = [sys.executable, "-m", "framematch", "edge", "--dry-run", "--json", "--seconds", "1000"]
    with (
        endless_camera() as camera,
        subprocess.Popen(
            [*command, "--camera", f"till-1={camera.url}"],
            env={**os.environ, "LOG_LEVEL": "info"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process,
    ):  # fmt: skip
        try:
            assert process.stderr is not None
            assert any("camera_opened" in line for line in iter(process.stderr.readline, ""))
            process.send_signal(signal.SIGINT)
            printed, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert [result["camera"] for result in json.loads(printed)] == ["till-1"], errors
    assert "Traceback" not in errors


def test_an_invalid_source_is_reported_in_one_line_with_exit_code_2() -> None:
    done = dry_run("--camera", "till-1=nowhere.mp4")
    assert done.returncode == 2
    assert "camera till-1: no file or folder 'nowhere.mp4'" in done.stderr


@pytest.mark.parametrize("as_json", [True, False])
def test_a_camera_whose_hardware_is_missing_is_decoded_in_software_and_says_why(tmp_path: Path, as_json: bool) -> None:
    video = write_video(tmp_path / "video.mp4", seconds=2)
    config = tmp_path / "edge.yaml"
    config.write_text(f"edge: {{cameras: {{a: {video}, b: {{source: {video}, decode: vaapi}}}}}}", encoding="utf-8")
    done = dry_run("--config", str(config), "--seconds", "1", *(["--json"] if as_json else []))
    assert done.returncode == 0, done.stdout + done.stderr
    why = "vaapi: not in this build of FFmpeg"
    if as_json:
        results = {result["camera"]: result for result in json.loads(done.stdout)}
        assert [(results[name]["decoder"], results[name]["decoder_reason"]) for name in "ab"] == [
            ("software", None),
            ("software", why),
        ]
        assert all(result["frames"] > 0 for result in results.values())
    else:
        assert f"b is decoded in software: {why}." in " ".join(done.stdout.split())
