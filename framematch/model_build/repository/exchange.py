"""Exchanges two folders or files, so that at any moment one of them is at its place."""

import ctypes
import errno
import os
from pathlib import Path

OLD = "old"
"""The folder beside the first one in which the second lies for a moment on a file system without this operation."""
_AT_CWD, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
_NOT_SUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})


def exchange(one: Path, other: Path) -> None:
    """Exchange `one` and `other` in one step, or in three on a file system that cannot do it in one.

    Raises:
        OSError: neither has changed.
    """
    if exchange_at_once(one, other):
        return
    aside = one.parent / OLD / other.name
    aside.parent.mkdir(exist_ok=True)
    other.rename(aside)
    try:
        one.rename(other)
    except BaseException:
        aside.rename(other)
        raise
    aside.rename(one)


def exchange_at_once(one: Path, other: Path) -> bool:
    """Exchange them in one step; False when the file system cannot do that. Python has no function for it.

    Raises:
        OSError: it failed.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(_AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number not in _NOT_SUPPORTED:
        raise OSError(number, os.strerror(number), str(other))
    return False
