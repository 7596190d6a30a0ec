"""The files by which processes of one host know which member of the group has died."""

import asyncio
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumers import membership
from consumers.membership import member_file, members_folder, take_dead_members, watch_members
from framematch.core.errors import KafkaUnavailableError
from framematch.core.settings import KafkaSettings
from tests.support import eventually


def leave_behind(folder: Path, member_id: str) -> None:
    """As a process that was killed: its file stays, its lock does not."""
    with member_file(folder) as member:
        member.write(member_id)
        [path] = folder.iterdir()
        copy = path.with_name("copy")  # which nobody looks at before it is complete
        copy.write_bytes(path.read_bytes())
        copy.rename(path.with_name(f"{path.name}-copy"))


def test_a_process_that_runs_is_not_taken_for_dead(tmp_path: Path) -> None:
    with member_file(tmp_path) as member:
        member.write("aiokafka-1")
        assert take_dead_members(tmp_path) == []
        assert len(list(tmp_path.iterdir())) == 1


def test_a_process_that_ends_leaves_no_file(tmp_path: Path) -> None:
    with member_file(tmp_path) as member:
        member.write("aiokafka-1")
    assert list(tmp_path.iterdir()) == []


def test_a_dead_process_is_found_once(tmp_path: Path) -> None:
    leave_behind(tmp_path, "aiokafka-1")
    assert take_dead_members(tmp_path) == ["aiokafka-1"]
    assert take_dead_members(tmp_path) == []


def test_the_last_member_id_of_a_process_counts(tmp_path: Path) -> None:
    with member_file(tmp_path) as member:
        member.write("aiokafka-a-long-one")
        member.write("aiokafka-2")
        [path] = tmp_path.iterdir()
        assert path.read_text() == "aiokafka-2\n"


def test_a_process_that_died_before_it_was_a_member_is_forgotten(tmp_path: Path) -> None:
    with member_file(tmp_path):
        [path] = tmp_path.iterdir()
        path.with_name(f"{path.name}-copy").touch()
    assert take_dead_members(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_files_of_another_boot_or_host_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_behind(tmp_path, "aiokafka-1")
    other = tmp_path / "boot"
    other.write_text("another\n")
    monkeypatch.setattr(membership, "_BOOT_ID", other)
    assert take_dead_members(tmp_path) == []


def test_without_a_folder_there_is_no_dead_member(tmp_path: Path) -> None:
    assert take_dead_members(tmp_path / "missing") == []


def test_a_folder_that_cannot_be_written_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with capture_logs() as logs, member_file(tmp_path / "file") as member:
        member.write("aiokafka-1")
    assert [line["event"] for line in logs] == ["members_unwatched"]


def test_a_full_disk_is_reported_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)
    with capture_logs() as logs, member_file(tmp_path) as member:
        member.write("aiokafka-1")
    assert "No space left" in logs[0]["error"]


def test_each_group_of_each_cluster_has_its_own_folder(tmp_path: Path) -> None:
    clusters = [KafkaSettings(bootstrap_servers=address) for address in ("one:9092", "two:9092")]
    folders = {members_folder(tmp_path, kafka, group) for kafka in clusters for group in ("a", "b")}
    assert len(folders) == 4


async def test_a_dead_member_that_kafka_cannot_be_told_of_is_reported_and_the_watch_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []

    async def remove(_kafka: KafkaSettings, _group_id: str, member_ids: list[str]) -> None:
        told.append(member_ids)
        if len(told) == 1:
            raise KafkaUnavailableError("Kafka does not answer")

    monkeypatch.setattr(membership, "remove_members", remove)
    monkeypatch.setattr(membership, "_WATCH_S", 0.0)
    leave_behind(tmp_path, "aiokafka-1")
    with capture_logs() as logs:
        task = asyncio.create_task(watch_members(tmp_path, KafkaSettings(), "group"))
        await eventually(lambda: len(told) == 1)
        leave_behind(tmp_path, "aiokafka-2")
        await eventually(lambda: len(logs) == 2)
        task.cancel()
        await asyncio.wait([task])
    assert told == [["aiokafka-1"], ["aiokafka-2"]]
    assert [line["event"] for line in logs] == ["dead_members_not_removed", "dead_members_removed"]
