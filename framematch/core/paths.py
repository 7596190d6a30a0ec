"""Folders outside the working tree: a cache that can be deleted, and state that should be kept."""

import os
from pathlib import Path

from framematch.core.errors import UsageError


def cache_dir() -> Path:
    """The folder of downloads and built servers: `FRAMEMATCH_CACHE_DIR`, else the XDG cache folder."""
    return _folder("FRAMEMATCH_CACHE_DIR", "XDG_CACHE_HOME", ".cache")


def state_dir() -> Path:
    """The folder of the local stack and of index snapshots: `FRAMEMATCH_STATE_DIR`, else the XDG state folder."""
    return _folder("FRAMEMATCH_STATE_DIR", "XDG_STATE_HOME", ".local/state")


def _folder(own: str, xdg: str, under_home: str) -> Path:
    if path := os.environ.get(own):
        return Path(path)
    if base := os.environ.get(xdg):
        return Path(base) / "framematch"
    try:
        return Path.home() / under_home / "framematch"
    except RuntimeError:
        raise UsageError("this user has no home folder", hint=f"Set {own} to a folder of your own") from None
