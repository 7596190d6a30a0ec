"""Reads the small files of a model bundle, and recognises git-LFS pointers."""

from pathlib import Path
from typing import TypeVar

import msgspec

from framematch.core.errors import ModelError

COPY_AGAIN_HINT = "Copy the file again from the model's export"

_T = TypeVar("_T")
_LFS_MARK = b"version https://git-lfs.github.com/spec/"


def decode_json(path: Path, shape: type[_T]) -> _T:
    """The JSON file at `path` as `shape`.

    Raises:
        ModelError: it is not readable, not JSON, or does not fit `shape`.
    """
    try:
        content = path.read_bytes()
        require_no_lfs_pointer(path, content)
        return msgspec.json.decode(content, type=shape)
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"{path} is not usable: {error}", hint=COPY_AGAIN_HINT) from error


def require_no_lfs_pointer(path: Path, content: bytes) -> None:
    """Refuse the few lines that git-LFS leaves in place of a large file; the file's first bytes are enough.

    Raises:
        ModelError: `content` is such a pointer.
    """
    if content.startswith(_LFS_MARK):
        raise ModelError(
            f"{path} is a git-LFS pointer, not the file itself",
            hint="Run `git lfs pull` in the folder that was cloned, or download the file again",
        )
