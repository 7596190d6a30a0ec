"""What an edge remembers of the cameras that it follows, and how they meet those of its own file."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from edge.follow import FollowedCameras, edge_name
from edge.reload import Accepted, CameraChanges, Refused, SettingsWatch
from framematch.core.errors import SettingsError
from framematch.core.kafka.compacted_topic import CompactedTopic
from framematch.core.settings import EdgeSettings, Settings
from framematch.core.settings_sources import load_settings
from tests.support import file_size_limit
from tests.unit.edge.wanted_records import CANARY, KEY, URL, edge_settings, record


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMATCH_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture(name="log")
def _log() -> Iterator[list[EventDict]]:
    with capture_logs() as lines:
        yield lines


def settings_of(name: str = "shop-1", prefix: str = "framematch") -> Settings:
    settings = edge_settings(name=name, follow="kafka")
    kafka = settings.kafka.model_copy(update={"topic_prefix": prefix, "bootstrap_servers": "127.0.0.1:1"})
    return settings.model_copy(update={"kafka": kafka})


def ids(followed: FollowedCameras) -> list[str]:
    return [camera.id for camera in followed.wanted(settings_of(), ()).cameras]


async def test_cameras_are_remembered_for_a_start_without_kafka() -> None:
    first = FollowedCameras(settings_of())
    first.take({"till-1": record(), "till-2": record("till-2", edge="shop-2")}, 2)
    assert ids(first) == ["till-1"]
    assert ids(FollowedCameras(settings_of())) == ["till-1"]
    assert ids(FollowedCameras(settings_of("shop-2"))) == []
    assert ids(FollowedCameras(settings_of(prefix="other"))) == []


async def test_what_is_remembered_is_sealed_and_for_the_owner_alone(tmp_path: Path) -> None:
    followed = FollowedCameras(settings_of())
    followed.take({"till-1": record()}, 1)
    followed.wanted(settings_of(), ())
    [file] = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert CANARY.encode() not in file.read_bytes()
    assert KEY.get_secret_value().encode() not in file.read_bytes()


async def test_a_camera_that_runs_in_an_older_generation_still_does_after_a_restart() -> None:
    followed = FollowedCameras(settings_of())
    followed.take({"till-1": record(generation=1)}, 1)
    followed.wanted(settings_of(), ())
    followed.take({"till-1": record(generation=2, fps=0)}, 2)
    followed.wanted(settings_of(), ())
    found = FollowedCameras(settings_of()).wanted(settings_of(), ())
    assert (found.generations, found.refused["till-1"].generation) == ({"till-1": 1}, 2)


@pytest.mark.parametrize("damage", [b"", b"{", b"[" * 100_000, b"\xff", b'{"records": 3}'])
async def test_a_damaged_memory_is_no_obstacle(tmp_path: Path, damage: bytes, log: list[EventDict]) -> None:
    followed = FollowedCameras(settings_of())
    followed.take({"till-1": record()}, 1)
    followed.wanted(settings_of(), ())
    [file] = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    file.write_bytes(damage)
    again = FollowedCameras(settings_of())
    assert ids(again) == []
    assert log[-1]["event"] == "wanted_cameras_not_restored"
    again.take({"till-1": record()}, 1)
    assert ids(again) == ["till-1"]


async def test_a_full_disk_changes_nothing_but_the_memory(log: list[EventDict]) -> None:
    followed = FollowedCameras(settings_of())
    followed.take({"till-1": record()}, 1)
    with file_size_limit(10):
        assert ids(followed) == ["till-1"]
    assert log[-1]["event"] == "wanted_cameras_not_saved"
    assert ids(FollowedCameras(settings_of())) == []
    assert ids(followed) == ["till-1"]
    assert ids(FollowedCameras(settings_of())) == ["till-1"]


async def test_a_topic_that_was_never_written_to_removes_nothing(log: list[EventDict]) -> None:
    followed = FollowedCameras(settings_of())
    followed.take({"till-1": record()}, 1)
    followed.wanted(settings_of(), ())
    followed.take({}, 0)
    assert log[-1]["event"] == "wanted_cameras_missing"
    assert ids(followed) == ["till-1"]
    followed.take({}, 2)  # its last record is a tombstone
    assert ids(followed) == []


async def test_a_refusal_is_logged_once_and_without_the_secret(log: list[EventDict]) -> None:
    followed = FollowedCameras(settings_of())
    followed.take({"till-1": record(url=f"rtsp://u:{CANARY}@elsewhere/1", generation=4)}, 1)
    for _ in range(2):
        followed.wanted(settings_of(), ())
    [line] = log
    assert (line["event"], line["camera"], line["generation"]) == ("wanted_camera_refused", "till-1", 4)
    assert CANARY not in str(log)


async def test_a_defect_in_reading_the_topic_stops_no_camera_and_wrong_settings_do(
    log: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([ZeroDivisionError(), SettingsError("no address")])

    async def run(_topic: CompactedTopic) -> None:
        raise next(errors)

    monkeypatch.setattr(CompactedTopic, "run", run)
    monkeypatch.setattr("edge.follow._RETRY_S", 0)
    with pytest.raises(SettingsError):
        await FollowedCameras(settings_of()).run()
    assert [line["event"] for line in log] == ["wanted_cameras_reading_crashed"]


def test_an_edge_is_called_as_its_host_if_that_can_be_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "box-7.shop")
    assert edge_name(EdgeSettings()) == "box-7.shop"
    assert edge_name(EdgeSettings(name="till")) == "till"
    monkeypatch.setattr("socket.gethostname", lambda: "my_box!")
    with pytest.raises(SettingsError, match=r"cannot be the name of an edge. Set edge\.name"):
        edge_name(EdgeSettings())


HEADER = f"""cameras_key: {KEY.get_secret_value()}
kafka: {{bootstrap_servers: '127.0.0.1:1'}}
"""
OWN = "edge: {name: shop-1, follow: kafka, follow_hosts: ['10.0.0.0/24'], cameras: {own: 'rtsp://h/1'}}"
NONE = "edge: {name: shop-1, follow: kafka, follow_hosts: ['10.0.0.0/24']}"


def watch_of(file: Path, text: str) -> tuple[SettingsWatch, FollowedCameras]:
    file.write_text(HEADER + text)
    settings = load_settings(file)
    followed = FollowedCameras(settings)
    return SettingsWatch(lambda: load_settings(file), file, settings, followed=followed, poll_s=0.01), followed


async def accepted(watch: SettingsWatch) -> Accepted:
    found = await watch.next()
    assert isinstance(found, Accepted), found
    return found


async def test_a_change_of_the_topic_is_applied_beside_the_own_cameras(tmp_path: Path, log: list[EventDict]) -> None:
    watch, followed = watch_of(tmp_path / "edge.yaml", OWN)
    followed.take({"till-1": record()}, 1)
    found = await accepted(watch)
    assert [camera.id for camera in found.cameras] == ["own", "till-1"]
    assert [camera.id for camera in found.changes.added] == ["till-1"]
    assert not found.own
    assert (log[-1]["event"], log[-1]["cause"]) == ("settings_accepted", "topic")
    followed.take({}, 2)
    assert (await accepted(watch)).changes == CameraChanges(removed=("till-1",))


async def test_an_edge_that_follows_starts_without_any_camera(tmp_path: Path) -> None:
    watch, followed = watch_of(tmp_path / "edge.yaml", NONE)
    assert watch.cameras == ()
    followed.take({"till-1": record()}, 1)
    assert [camera.source.address for camera in (await accepted(watch)).cameras] == [URL]


async def test_wanted_cameras_change_while_the_own_file_has_a_mistake(tmp_path: Path, log: list[EventDict]) -> None:
    file = tmp_path / "edge.yaml"
    watch, followed = watch_of(file, OWN)
    file.write_text("edge: [1")
    assert isinstance(await watch.next(), Refused)
    followed.take({"till-1": record()}, 1)
    found = await accepted(watch)
    assert [camera.id for camera in found.cameras] == ["own", "till-1"]
    assert not found.own  # so the mistake stays on display
    file.write_text(HEADER + OWN)
    assert (await accepted(watch)).own
    assert [line["event"] for line in log if line["event"].startswith("settings")] == [
        "settings_refused", "settings_accepted", "settings_accepted",
    ]  # fmt: skip


async def test_a_default_of_the_edge_changes_a_wanted_camera_too(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    watch, followed = watch_of(file, OWN)
    followed.take({"till-1": record()}, 1)
    await accepted(watch)
    file.write_text(HEADER + OWN.replace("name:", "fps: 1, name:"))
    assert {camera.fps for camera in (await accepted(watch)).changes.changed} == {1.0}


async def test_a_changed_secret_is_noticed(tmp_path: Path) -> None:
    secrets, file = tmp_path / "secrets", tmp_path / "edge.yaml"
    secrets.mkdir()
    watch, followed = watch_of(file, OWN.replace("name:", f"follow_secrets: '{secrets}', name:"))
    followed.take({"till-1": record(secret="till-1")}, 1)
    assert (await accepted(watch)).wanted.refused.keys() == {"till-1"}
    (secrets / "new").write_text(f"rtsp://u:{CANARY}@h/1")
    (secrets / "new").replace(secrets / "till-1")
    found = await accepted(watch)
    assert [camera.source.address for camera in found.changes.added] == [f"rtsp://u:{CANARY}@h/1"]


async def test_a_generation_without_an_effect_is_observed_too(tmp_path: Path) -> None:
    watch, followed = watch_of(tmp_path / "edge.yaml", NONE)
    followed.take({"till-1": record(generation=1)}, 1)
    await accepted(watch)
    followed.take({"till-1": record(generation=2)}, 2)
    found = await accepted(watch)
    assert (found.changes, found.wanted.generations) == (CameraChanges(), {"till-1": 2})
