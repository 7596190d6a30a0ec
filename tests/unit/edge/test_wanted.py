"""Which wanted cameras an edge runs, and why it refuses others: no record stops another camera, or opens anything."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from edge.wanted import Wanted, wanted_of
from framematch.core.sealing import SourceSeal
from framematch.core.settings import Settings
from tests.unit.edge.wanted_records import CANARY, URL, edge_settings, record


def wanted(records: dict[str, bytes], before: Wanted | None = None, own: tuple[str, ...] = (), **edge: Any) -> Wanted:
    return wanted_of(records, before.in_force if before else {}, edge_settings(**edge), "shop-1", own)


def why(found: Wanted, camera: str = "till-1") -> str:
    return found.refused[camera].reason


def test_a_camera_runs_on_the_edge_that_it_names_with_the_defaults_of_that_edge() -> None:
    found = wanted({"till-1": record(max_side=320), "till-2": record("till-2", edge="shop-2")}, fps=2)
    [camera] = found.cameras
    assert (camera.id, camera.source.address, camera.fps, camera.max_side) == ("till-1", URL, 2.0, 320)
    assert (found.generations, found.refused) == ({"till-1": 1}, {})
    assert CANARY not in str(found)


BAD: dict[str, bytes] = {
    "not allowed here": record(url="rtsp://169.254.169.254/latest"),
    "has a URL that starts with": record(url="/etc/passwd"),
    "URL that starts with rtsp": record(url="0"),
    "starts with rtsp://": record(url="udp://:5000"),
    "fps: input should be greater than 0": record(fps=0),
    "fsp: extra inputs": record(fsp=1),
    "the source is not among": record(source="0"),
    "sealed with another key": record(seal=SourceSeal(SecretStr(Fernet.generate_key().decode()))),
    "sealed for another camera": record("till-2").replace(b'"camera":"till-2"', b'"camera":"till-1"'),
    "record is damaged": record().replace(b'"settings":{}', b'"settings":[]'),
    "its key is another camera": record("till-2"),
    "more than 65,536 bytes": record(added="x" * 70_000),
    "no folder of secrets": record(secret="till-1.url"),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_camera_is_refused_with_a_reason_and_the_others_run(reason: str) -> None:
    found = wanted({"a": record("a"), "till-1": BAD[reason], "z": record("z")})
    assert [camera.id for camera in found.cameras] == ["a", "z"]
    assert reason in why(found)
    assert found.refused["till-1"].hint
    assert CANARY not in str(found.refused)


@given(st.binary(max_size=200))
def test_no_bytes_of_a_record_stop_other_cameras(value: bytes) -> None:
    found = wanted({"till-1": value, "till-2": record("till-2")})
    assert [camera.id for camera in found.cameras] == ["till-2"]


@given(at=st.integers(0, 400), byte=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_record_gives_no_other_source(at: int, byte: int) -> None:
    value = bytearray(record())
    value[at % len(value)] = byte
    found = wanted({"till-1": bytes(value)})
    assert all(camera.source.address == URL for camera in found.cameras)


@pytest.mark.parametrize("bad", BAD.values(), ids=list(BAD))
def test_a_change_that_is_refused_leaves_the_camera_running_as_it_was(bad: bytes) -> None:
    before = wanted({"till-1": record(generation=3)})
    found = wanted({"till-1": bad}, before)
    assert (found.cameras, found.generations) == (before.cameras, {"till-1": 3})
    assert found.refused.keys() == {"till-1"}
    assert wanted({"till-1": record(generation=5)}, found).refused == {}


def test_a_record_that_cannot_be_read_at_all_is_refused_by_the_edge_that_ran_the_camera_alone() -> None:
    before = wanted({"till-1": record()})
    assert wanted({"till-1": b"\xff"}, before).refused["till-1"].generation is None
    assert wanted({"till-1": b"\xff"}) == Wanted()


def test_a_camera_that_runs_stops_when_it_may_not_any_more() -> None:
    before = wanted({"till-1": record()})
    found = wanted({"till-1": record()}, before, follow_hosts=["*.shop"])
    assert found.cameras == ()
    assert "10.0.0.5 is not allowed" in why(found)


def test_a_camera_that_is_removed_or_moved_stops() -> None:
    before = wanted({"till-1": record()})
    assert wanted({}, before) == wanted({"till-1": record(edge="shop-2")}, before) == Wanted()


def test_the_own_camera_of_the_edge_wins_and_the_wanted_one_takes_over_when_it_is_gone() -> None:
    found = wanted({"till-1": record()}, own=("till-1",))
    assert found.cameras == ()
    assert "own settings have a camera with this id" in why(found)
    assert [camera.id for camera in wanted({"till-1": record()}, found).cameras] == ["till-1"]


def test_further_cameras_than_the_edge_may_run_are_refused_and_stop_none() -> None:
    before = wanted({"y": record("y"), "z": record("z")}, follow_max=2)
    found = wanted({name: record(name) for name in ("a", "y", "z")}, before, follow_max=2)
    assert sorted(camera.id for camera in found.cameras) == ["y", "z"]
    assert "runs 2 wanted cameras already" in why(found, "a")


def test_without_a_key_nothing_sealed_is_opened() -> None:
    found = wanted_of({"till-1": record()}, {}, Settings(), "shop-1", ())
    assert "has no cameras_key" in why(found)


@pytest.fixture(name="secrets")
def _secrets(tmp_path: Path) -> Path:
    """A folder of secrets, and beside it a file that is none of them."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (tmp_path / "outside").write_text("rtsp://10.0.0.9/outside")
    return folder


def test_a_secret_of_the_edge_is_a_source_on_any_host_as_its_operator_wrote_it(secrets: Path) -> None:
    (secrets / "till-1.url").write_text(f"rtsp://u:{CANARY}@elsewhere/1\n")
    found = wanted({"till-1": record(secret="till-1.url")}, follow_secrets=str(secrets))
    assert [camera.source.address for camera in found.cameras] == [f"rtsp://u:{CANARY}@elsewhere/1"]
    assert found.files == (secrets / "till-1.url",)


def test_secrets_are_found_behind_the_links_of_kubernetes(secrets: Path) -> None:
    (secrets / "..2026").mkdir()
    (secrets / "..2026" / "till-1").write_text("rtsp://elsewhere/1")
    (secrets / "..data").symlink_to("..2026")
    (secrets / "till-1").symlink_to("..data/till-1")
    assert len(wanted({"till-1": record(secret="till-1")}, follow_secrets=str(secrets)).cameras) == 1


PLANTED: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: path,
    "a link out of it": lambda path: path.symlink_to("../outside"),
    "a link in a circle": lambda path: path.symlink_to(path.name),
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,  # opening it would wait for ever
}


@pytest.mark.parametrize("kind", PLANTED)
def test_no_other_file_is_read_as_a_secret(secrets: Path, kind: str) -> None:
    PLANTED[kind](secrets / "x")
    found = wanted({"till-1": record(secret="x")}, follow_secrets=str(secrets))
    assert why(found) == "there is no secret x on this edge"


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "..", "a/../../outside"])
def test_the_name_of_a_secret_is_no_path(secrets: Path, name: str) -> None:
    found = wanted({"till-1": record(secret=name)}, follow_secrets=str(secrets))
    assert "record is damaged" in why(found)
    assert found.files == ()


def test_a_secret_that_names_another_file_by_an_at_sign_opens_none(secrets: Path) -> None:
    (secrets / "x").write_text(f"@{secrets.parent / 'outside'}")
    found = wanted({"till-1": record(secret="x")}, follow_secrets=str(secrets))
    assert found.cameras == ()


def test_the_same_records_give_the_same_cameras() -> None:
    records = {"till-1": record(), "till-2": BAD["record is damaged"]}
    first = wanted(records)
    assert wanted(records, first) == first == replace(first)
