"""Which folders of fetched snapshots are deleted."""

import os
import time
from pathlib import Path

from framematch.catalog.snapshots.cache import delete_unused, mark_used

WEEK_S = 7 * 86_400
OLD, NEW, STORED = (f"20260101T000000Z-0000000{number}" for number in range(3))


def make(folder: Path, *, unused_s: float) -> Path:
    folder.mkdir()
    (folder / "rows.json").write_bytes(b"{}")
    os.utime(folder, (time.time() - unused_s,) * 2)
    return folder


def test_a_deleted_snapshot_that_nobody_has_used_for_a_week_is_deleted(tmp_path: Path) -> None:
    make(tmp_path / OLD, unused_s=WEEK_S + 60)
    make(tmp_path / NEW, unused_s=WEEK_S - 60)
    make(tmp_path / STORED, unused_s=WEEK_S + 60)
    make(tmp_path / ".build-x", unused_s=WEEK_S + 60)
    delete_unused(tmp_path, {STORED})
    assert {path.name for path in tmp_path.iterdir()} == {NEW, STORED, ".build-x"}


def test_a_snapshot_that_is_used_again_stays(tmp_path: Path) -> None:
    mark_used(make(tmp_path / OLD, unused_s=WEEK_S + 60))
    delete_unused(tmp_path, set())
    assert (tmp_path / OLD).exists()


def test_a_folder_that_does_not_exist_is_no_error(tmp_path: Path) -> None:
    delete_unused(tmp_path / "none", set())
    mark_used(tmp_path / "none")
