"""Reads the small files of a model bundle, and recognises git-LFS pointers."""

from pathlib import Path
from typing import TypeVar

import msgspec

from framematch.core.errors import ModelError

COPY_AGAIN_HINT = "Copy the file again from the model's export"

_T = TypeVar("_T")
_LFS_START = b"version https://git-lfs.github.com/spec/"


def decode_json(path: Path, shape: type[_T], *, hint: str = COPY_AGAIN_HINT) -> _T:
    """The JSON file at `path` as `shape`. `hint` is for the error.

    Raises:
        ModelError: it is not readable, not JSON, or does not fit `shape`.
    """
    try:
        require_no_lfs_pointer(path)
        return msgspec.json.decode(path.read_bytes(), type=shape)
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"{path} is not usable: {error}", hint=hint) from error


def require_no_lfs_pointer(path: Path) -> None:
    """Refuse the few lines that git-LFS leaves in place of a large file.

    Raises:
        ModelError: the file is such a pointer.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(len(_LFS_START))
    if start == _LFS_START:
        raise ModelError(
            f"{path} is a git-LFS pointer, not the file itself",
            hint="Run `git lfs pull` in the folder that was cloned, or download the file again",
        )
