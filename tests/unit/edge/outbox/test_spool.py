"""A spool returns frames in order, and survives kill -9, full disks and damaged files."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edge.outbox.spool import Spool
from edge.outbox.spool_file import PAGE_BYTES, SpoolError, wal_of
from tests.unit.edge.outbox.spool_program import JPEG_BYTES, fill_replay_and_fill, new_spool, spooled

PROGRAM = (sys.executable, "-m", "tests.unit.edge.outbox.spool_program")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prefix" / "till-1.sqlite"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    opened = new_spool(path)
    yield opened
    opened.close()


def replay_all(spool: Spool) -> list[int]:
    numbers: list[int] = []
    while rows := spool.lease(3, 1_000_000):
        numbers += [row.number for row in rows]
        spool.ack([row.number for row in rows])
    spool.remove_if_empty()
    return numbers


def test_a_frame_is_read_as_it_was_written_and_marked_as_replayed(spool: Spool) -> None:
    written = spooled(1)
    spool.append([written])
    assert spool.lease(10, 1_000_000) == [written._replace(frame=replace(written.frame, replayed=True))]


def test_the_file_exists_only_while_it_has_frames_and_only_its_owner_may_read_it(spool: Spool, path: Path) -> None:
    assert spool.lease(10, 1_000_000) == []
    assert not path.exists()
    spool.append([spooled(1)])
    assert path.exists()
    assert path.parent.stat().st_mode & 0o077 == 0
    assert replay_all(spool) == [1]
    assert list(path.parent.iterdir()) == []


def test_a_lease_is_bounded_by_frames_and_bytes_but_has_at_least_one_frame(spool: Spool) -> None:
    for number in range(1, 8):
        spool.append([spooled(number, 1_000)])
    sizes = [len(spool.lease(*limits)) for limits in ((2, 10_000), (10, 2_500), (10, 10), (10, 10_000))]
    assert sizes == [2, 2, 1, 2]


def test_frames_are_leased_by_number_whenever_they_were_written(spool: Spool) -> None:
    spool.append([spooled(5)])
    spool.append([spooled(3), spooled(4)], leased=True)
    assert (spool.waiting, replay_all(spool)) == (1, [5])
    spool.append([spooled(6)])
    spool.release(3)
    assert replay_all(spool) == [3, 4, 6]


def test_a_full_spool_discards_the_oldest_waiting_frames_and_keeps_leased_ones(path: Path) -> None:
    spool = new_spool(path, max_bytes=5_000)
    for number in range(1, 6):
        spool.append([spooled(number, 1_000)])
    leased = spool.lease(2, 1_000_000)
    spool.append([spooled(6, 1_000)])
    spool.append([spooled(7, 1_000)])
    assert list(spool.losses) == [("full", 1), ("full", 1)]
    spool.release(leased[0].number)
    assert replay_all(spool) == [1, 2, 5, 6, 7]


def test_a_frame_is_lost_when_leased_ones_fill_the_spool(path: Path) -> None:
    spool = new_spool(path, max_bytes=2_000)
    spool.append([spooled(1, 1_000), spooled(2, 1_000)], leased=True)
    spool.append([spooled(3, 1_000)])
    assert (list(spool.losses), spool.waiting) == ([("full", 1)], 0)
    spool.close()


def test_frames_of_an_earlier_run_come_first(path: Path) -> None:
    first = new_spool(path)
    first.append([spooled(number) for number in (1, 2)])
    assert first.close() == 2
    second = new_spool(path)
    second.append([spooled(1)])
    assert second.waiting == 3
    rows = second.lease(10, 1_000_000)
    assert [row.number for row in rows] == [-1, 0, 1]
    assert [row.frame.sequence for row in rows] == [1, 2, 1]
    second.close()


def test_every_appended_frame_is_there_after_kill_9(path: Path) -> None:
    with subprocess.Popen([*PROGRAM, "append_until_killed", str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(50)]
        process.kill()
        lines += process.stdout.readlines()
    printed = len([line for line in lines if line.endswith("\n")])
    spool = new_spool(path)
    numbers = replay_all(spool)
    assert len(numbers) in (printed, printed + 1), "it may have been killed before it printed the last one"
    assert numbers == sorted(numbers)


def test_after_kill_9_during_a_replay_exactly_the_frames_without_an_acknowledgement_are_left(path: Path) -> None:
    with subprocess.Popen([*PROGRAM, "replay_until_killed", str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(10)]
        process.kill()
        lines += process.stdout.readlines()
    deleted = int([line for line in lines if line.endswith("\n")][-1])
    spool = new_spool(path)
    numbers = [row.number for row in spool.lease(1_000, 1_000_000_000)]
    spool.close()
    assert len(numbers) in (500 - deleted, 500 - deleted - 4), "it may have been killed before it printed the last four"
    assert numbers == list(range(1 - len(numbers), 1))


def test_a_lease_deletes_acknowledged_frames_first_and_an_empty_file_is_removed_on_request(
    spool: Spool, path: Path
) -> None:
    spool.append([spooled(number) for number in (1, 2, 3)])
    assert len(spool.lease(2, 1_000_000)) == 2
    assert [row.number for row in spool.lease(2, 1_000_000, acknowledged=[1])] == [3]
    assert spool.bytes == 2 * JPEG_BYTES
    spool.remove_if_empty()
    assert spool.lease(2, 1_000_000, acknowledged=[2, 3]) == []
    assert path.exists()
    spool.remove_if_empty()
    assert not path.exists()


def test_deleting_frames_does_not_write_their_jpegs_to_the_log(spool: Spool, path: Path) -> None:
    spool.append([spooled(number) for number in range(101)])
    spool.close()
    numbers = [row.number for row in spool.lease(100, 10_000_000)]
    before = wal_of(path).stat().st_size
    spool.ack(numbers)
    assert wal_of(path).stat().st_size - before < 100 * JPEG_BYTES / 2


def test_frames_beyond_a_file_size_limit_are_lost_and_counted(path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "run_into_a_file_limit", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    appended, failed, leased, again = map(int, done.stdout.split()[-4:])
    assert (appended + failed, leased, again) == (200, appended, 10)
    assert min(appended, failed) > 0


def test_frames_beyond_a_full_disk_are_lost_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        spool = new_spool(disk / "till-1.sqlite")
        fill_replay_and_fill(spool)
        spool.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    appended, failed, leased, again = map(int, capsys.readouterr().out.split()[-4:])
    assert (appended + failed, leased, again) == (200, appended, 10)
    assert min(appended, failed) > 0


def test_a_folder_that_cannot_be_created_is_an_error_and_is_retried(tmp_path: Path) -> None:
    folder = tmp_path / "prefix"
    folder.write_text("a file, where the folder should be")
    spool = new_spool(folder / "till-1.sqlite")
    with pytest.raises(SpoolError) as raised:
        spool.append([spooled(1)])
    assert raised.value.reason == "spool_failed"
    folder.unlink()
    spool.append([spooled(1)])
    assert replay_all(spool) == [1]


def test_a_file_that_is_no_database_is_set_aside_and_replaced(spool: Spool, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all, " * 500)
    spool.append([spooled(1)])
    assert path.with_suffix(".damaged").read_bytes().startswith(b"no database")
    assert replay_all(spool) == [1]


def test_unread_frames_in_a_damaged_file_are_counted_as_lost(path: Path) -> None:
    first = new_spool(path)
    first.append([spooled(number, 4 * PAGE_BYTES) for number in range(1, 41)])
    first.close()
    content = bytearray(path.read_bytes())
    page = content.index((20).to_bytes(4, "big") * (PAGE_BYTES // 4 - 10)) // PAGE_BYTES * PAGE_BYTES
    content[page : page + 4] = b"\xff" * 4  # where SQLite finds the rest of a frame
    path.write_bytes(content)
    spool = new_spool(path)
    read = len(spool.lease(3, 1_000_000))
    with pytest.raises(SpoolError, match="malformed"):
        spool.lease(30, 10_000_000)
    assert path.with_suffix(".damaged").exists()
    assert list(spool.losses) == [("spool_damaged", 40 - read)]
    spool.append([spooled(50)])
    assert replay_all(spool) == [50]


def test_of_a_malformed_row_only_that_frame_is_lost(path: Path) -> None:
    first = new_spool(path)
    first.append([spooled(number) for number in (1, 2, 3)])
    first.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("UPDATE frames SET regions = '[oops' WHERE n = 2")
    spool = new_spool(path)
    assert len(replay_all(spool)) == 2
    assert list(spool.losses) == [("spool_damaged", 1)]
    assert not path.exists()


def test_a_file_that_another_process_has_open_is_not_touched(spool: Spool, path: Path) -> None:
    spool.append([spooled(1)])
    code = (
        "import sys; from pathlib import Path; from tests.unit.edge.outbox.spool_program import *\n"
        "try: new_spool(Path(sys.argv[1])).append([spooled(1)])\n"
        "except SpoolError as error: print(error.reason, error)"
    )
    other = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert other.stdout.startswith("spool_locked")
    assert str(path) in other.stdout
    assert replay_all(spool) == [1]
