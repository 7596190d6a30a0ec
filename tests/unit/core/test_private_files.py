"""Files with pictures and secrets are their owner's alone, whatever the umask is."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.outbox.spool import Spool
from edge.outbox.spool_file import SpooledFrame
from framematch.core.frames import Frame
from framematch.core.local_stack import LocalStack, state_file, write_local_stack
from framematch.core.private_files import create_private, make_private_folder, write_private


@pytest.fixture(autouse=True)
def _generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    return [str(path) for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077]


def test_a_folder_and_those_above_it_are_private(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a" / "b" / "c")
    make_private_folder(tmp_path / "a" / "b" / "c")
    assert open_to_others(tmp_path / "a") == []


def test_a_file_instead_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(FileExistsError):
        make_private_folder(tmp_path / "a")


def test_a_file_is_private_also_when_it_was_not(tmp_path: Path) -> None:
    (tmp_path / "old").touch(0o666)
    for name in ("old", "new"):
        write_private(tmp_path / name, b"picture")
        assert (tmp_path / name).read_bytes() == b"picture"
    create_private(tmp_path / "empty")
    assert open_to_others(tmp_path) == [str(tmp_path)] or open_to_others(tmp_path) == []


def test_a_spool_is_private_with_all_its_files(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool" / "prefix" / "a.sqlite", max_bytes=1_000_000, max_age_s=60)
    spool.append([SpooledFrame(1, Frame("a", 1, 1), b"jpeg")])
    assert len(list((tmp_path / "spool").rglob("*.sqlite*"))) > 1
    assert open_to_others(tmp_path / "spool") == []
    spool.close()


def test_the_state_of_the_local_stack_is_private() -> None:
    write_local_stack(LocalStack(1, "a:1", None, None, None, None, None, "", None))
    assert state_file().stat().st_mode & 0o077 == 0
