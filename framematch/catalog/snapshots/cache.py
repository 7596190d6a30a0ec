"""The folder of fetched snapshots on this host: those that were deleted and that nobody has used for days go."""

import os
import shutil
import time
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from framematch.catalog.snapshots.snapshot import is_snapshot_id

# Another process, or one for another database, may still use it; then it would only be fetched again.
_UNUSED_MAX_S = 7 * 86_400


def mark_used(folder: Path) -> None:
    """Say that a snapshot is in use, by the time of its folder."""
    with suppress(OSError):  # a folder that cannot be written is not cleaned either
        os.utime(folder)


def delete_unused(cache_dir: Path, stored: AbstractSet[str]) -> None:
    """Delete the folders of snapshots that are not in `stored`, and that nobody has used for seven days."""
    with suppress(OSError):
        for folder in cache_dir.iterdir():
            unused_s = time.time() - folder.stat().st_mtime
            if is_snapshot_id(folder.name) and folder.name not in stored and unused_s > _UNUSED_MAX_S:
                shutil.rmtree(folder, ignore_errors=True)
