"""Settings that change while the edge runs: which are applied, which are refused, and how that is logged."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from structlog.typing import EventDict

from edge.cameras import Camera
from edge.reload import Accepted, CameraChanges, Refused, SettingsWatch, compare, needing_restart
from edge.sources import Source
from framematch.core.settings import Settings
from framematch.core.settings_sources import load_settings
from tests.support import eventually

CANARY = "hunter2-canary"
CAMERA = Camera("till-1", Source("stream", "rtsp://h/1"), fps=5.0, max_side=640, jpeg_quality=85)
TWO = "edge: {cameras: {till-1: 'rtsp://h/1', till-2: 'rtsp://h/2'}}"
ONE = "edge: {cameras: {till-1: 'rtsp://h/1'}}"

site = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3)).map(
    lambda rates: tuple(replace(CAMERA, id=name, fps=float(fps)) for name, fps in rates.items())
)


@pytest.fixture(name="log")
def _log() -> Iterator[list[EventDict]]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    file = tmp_path / "edge.yaml"
    file.write_text(ONE)
    return file


def watch_of(file: Path) -> SettingsWatch:
    def load() -> Settings:
        return load_settings(file)

    return SettingsWatch(load, file, load(), poll_s=0.01)


def replace_file(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)


def overwrite(file: Path, text: str) -> None:
    file.write_text(text)


def remove(file: Path) -> None:
    file.unlink()


async def next_accepted(watch: SettingsWatch) -> Accepted:
    found = await watch.next()
    assert isinstance(found, Accepted), found
    return found


async def next_refused(watch: SettingsWatch) -> Refused:
    found = await watch.next()
    assert isinstance(found, Refused), found
    return found


@given(site, site)
def test_the_changes_lead_from_the_old_cameras_to_the_new(old: tuple[Camera, ...], new: tuple[Camera, ...]) -> None:
    changes = compare(old, new)
    result = {camera.id: camera for camera in old if camera.id not in changes.removed}
    assert not result.keys() & {camera.id for camera in changes.added}
    assert {camera.id for camera in changes.changed} <= result.keys()
    result |= {camera.id: camera for camera in (*changes.added, *changes.changed)}
    assert result == {camera.id: camera for camera in new}


@given(site)
def test_equal_cameras_are_no_change(cameras: tuple[Camera, ...]) -> None:
    assert compare(cameras, tuple(reversed(cameras))) == CameraChanges()


def test_settings_that_are_not_part_of_a_camera_need_a_restart() -> None:
    old = load_settings()
    new = load_settings(
        overrides={
            "kafka": {"sasl_password": CANARY}, "http": {"port": 8080},
            "edge": {"fps": 1, "motion": True, "allowed_hosts": ["cdn"], "spool": {"max_mb": 1}},
            "matching": {"top_k": 1}, "shutdown_deadline_s": 3,
        }
    )  # fmt: skip
    names = ("edge.spool", "http.port", "kafka.sasl_password", "shutdown_deadline_s")
    assert needing_restart(old, new) == names
    assert needing_restart(old, old) == ()


async def test_a_camera_that_is_added_to_the_file_is_accepted(file: Path, log: list[EventDict]) -> None:
    watch = watch_of(file)
    replace_file(file, TWO)
    found = await next_accepted(watch)
    assert [camera.id for camera in found.cameras] == ["till-1", "till-2"]
    assert [camera.id for camera in found.changes.added] == ["till-2"]
    assert watch.cameras == found.cameras
    line = {"event": "settings_accepted", "log_level": "info", "cause": "file", "added": 1, "removed": 0, "changed": 0}
    assert log == [line]


async def test_a_setting_for_all_cameras_changes_each(file: Path) -> None:
    watch = watch_of(file)
    overwrite(file, ONE.replace("{cameras", "{fps: 1, cameras"))
    assert [camera.fps for camera in (await next_accepted(watch)).changes.changed] == [1.0]


async def test_a_symbolic_link_that_is_replaced_is_noticed(tmp_path: Path) -> None:
    for name, text in (("first", ONE), ("second", TWO)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "edge.yaml").write_text(text)
    link = tmp_path / "data"
    link.symlink_to(tmp_path / "first")
    watch = watch_of(link / "edge.yaml")
    new = tmp_path / "new"
    new.symlink_to(tmp_path / "second")
    new.rename(link)
    assert len((await next_accepted(watch)).cameras) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("edge: [1", "is not valid YAML at line 1"),
        ("edge: {fsp: 2}", "unknown setting edge.fsp"),
        ("edge: {cameras: {till-1: rtsp://h/1, till-1: rtsp://h/2}}", "line 1: the key till-1 stands twice"),
        ("edge: {cameras: {till-1: rtsp://h/1}}\nedge: {fps: 5}", "line 2: the key edge stands twice"),
        ("edge: {cameras: {}}", "no cameras are set"),
        ("edge: {cameras: {till-1: 'rtsp://h/1', till-2: nowhere.mp4}}", "till-2: no file or folder 'nowhere.mp4'"),
        (f"edge: {{cameras: {{till-1: '{__file__}'}}}}", "is not a video"),
        (f"edge: {{cameras: {{till-1: 'ftp://u:{CANARY}@h/1'}}}}", "URLs start with"),
    ],
)
async def test_a_file_with_a_mistake_is_refused_as_a_whole_and_the_next_good_one_is_accepted(
    file: Path, log: list[EventDict], text: str, reason: str
) -> None:
    watch = watch_of(file)
    before = watch.cameras
    replace_file(file, text)
    assert reason in (await next_refused(watch)).reason
    assert watch.cameras == before
    replace_file(file, TWO)
    assert len((await next_accepted(watch)).cameras) == 2
    assert [line["event"] for line in log] == ["settings_refused", "settings_accepted"]
    assert reason in log[0]["reason"]
    assert CANARY not in str(log)


async def test_more_cameras_than_the_system_allows_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (256, 256))
    watch = watch_of(file)
    cameras = ", ".join(f"c-{number}: 'rtsp://h/{number}'" for number in range(100))
    replace_file(file, f"edge: {{cameras: {{{cameras}}}}}")
    assert (await next_refused(watch)).reason == "100 cameras need 900 open files, and the system allows 256"


async def test_restoring_the_settings_in_force_ends_the_refusal(file: Path) -> None:
    watch = watch_of(file)
    replace_file(file, "edge: [1")
    await next_refused(watch)
    replace_file(file, ONE)
    assert (await next_accepted(watch)).changes == CameraChanges()


async def test_a_file_that_disappears_is_refused_and_its_return_accepted(file: Path) -> None:
    watch = watch_of(file)
    remove(file)
    assert "cannot read the settings file" in (await next_refused(watch)).reason
    overwrite(file, ONE)
    assert (await next_accepted(watch)).changes == CameraChanges()


async def test_a_refused_file_is_accepted_once_its_source_exists(
    file: Path, tmp_path: Path, log: list[EventDict]
) -> None:
    watch = watch_of(file)
    pictures = tmp_path / "pictures"
    replace_file(file, f"edge: {{cameras: {{till-1: 'rtsp://h/1', shelf: '{pictures}'}}}}")
    await next_refused(watch)
    pictures.mkdir()
    (pictures / "1.png").touch()
    found = await watch.next()
    if isinstance(found, Refused):  # the folder was seen before its picture
        found = await watch.next()
    assert isinstance(found, Accepted)
    assert log[-1]["cause"] == "retry"


async def test_the_file_of_a_source_is_watched_too(tmp_path: Path, log: list[EventDict]) -> None:
    secret, file = tmp_path / "till-1", tmp_path / "edge.yaml"
    secret.write_text("rtsp://user:old@h/1")
    file.write_text(f"edge: {{cameras: {{till-1: '@{secret}'}}}}")
    watch = watch_of(file)
    replace_file(secret, f"rtsp://user:{CANARY}@h/1")
    changed = (await next_accepted(watch)).changes.changed
    assert [camera.source.address for camera in changed] == [f"rtsp://user:{CANARY}@h/1"]
    assert CANARY not in str(log)


async def test_sighup_works_without_a_file_and_is_answered_even_if_nothing_changed(log: list[EventDict]) -> None:
    overrides = {"edge": {"cameras": {"till-1": "rtsp://h/1"}}}

    def load() -> Settings:
        return load_settings(overrides=overrides)

    with SettingsWatch(load, None, load()) as watch:
        os.kill(os.getpid(), signal.SIGHUP)
        assert (await next_accepted(watch)).changes == CameraChanges()
        overrides["edge"]["cameras"]["till-2"] = "0"
        os.kill(os.getpid(), signal.SIGHUP)
        assert len((await next_accepted(watch)).changes.added) == 1
    assert [line["cause"] for line in log] == ["signal", "signal"]


async def test_settings_that_need_a_restart_are_named_without_their_values(file: Path, log: list[EventDict]) -> None:
    watch = watch_of(file)
    replace_file(file, f"{ONE}\nkafka: {{sasl_password: {CANARY}}}")
    assert (await next_accepted(watch)).changes == CameraChanges()
    assert log[-1]["event"] == "settings_need_restart"
    assert log[-1]["settings"] == ("kafka.sasl_password",)
    assert CANARY not in str(log)


async def test_a_defect_in_reading_refuses_the_settings_and_raises_nothing(file: Path, log: list[EventDict]) -> None:
    settings = load_settings(file)

    def load() -> Settings:
        raise ZeroDivisionError

    watch = SettingsWatch(load, file, settings, poll_s=0.01)
    assert (await next_refused(watch)).reason == "a defect: ZeroDivisionError"
    assert [line["event"] for line in log] == ["settings_reading_crashed", "settings_refused"]


async def test_a_changed_file_with_the_same_settings_is_not_reported(file: Path, log: list[EventDict]) -> None:
    loads = 0

    def load() -> Settings:
        nonlocal loads
        loads += 1
        return load_settings(file)

    waiting = asyncio.ensure_future(SettingsWatch(load, file, load_settings(file), poll_s=0.01).next())
    await eventually(lambda: loads == 1)
    replace_file(file, ONE + "  # the same")
    await eventually(lambda: loads == 2)
    replace_file(file, TWO)
    assert isinstance(await waiting, Accepted)
    assert len(log) == 1
