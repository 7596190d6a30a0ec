"""The folder of a running build; those of builds that were killed are deleted."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from framematch.core.errors import CatalogError

_PREFIX = ".build-"
_LOCK_FILE = ".lock"


@contextmanager
def build_folder(cache_dir: Path) -> Iterator[Path]:
    """An empty folder in `cache_dir`, deleted at the end. It is locked, which ends with the process in any case.

    Raises:
        CatalogError: it cannot be written.
    """
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        # While it is held, no other process sees a folder that is not locked yet.
        with (cache_dir / _LOCK_FILE).open("ab") as all_folders:
            fcntl.flock(all_folders, fcntl.LOCK_EX)
            _delete_abandoned(cache_dir)
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=cache_dir))
            lock = _lock(folder)
    except OSError as error:
        raise CatalogError(f"cannot write to {cache_dir}: {error.strerror}", hint="Check space and rights") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def _delete_abandoned(cache_dir: Path) -> None:
    for folder in cache_dir.glob(f"{_PREFIX}*"):
        try:
            _lock(folder).close()
        except BlockingIOError:
            continue
        shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: Path) -> BinaryIO:
    file = (folder / _LOCK_FILE).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file
