"""What the files of an archive may be called, and how many and how large they may be."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from framematch.core.errors import CatalogError

# What is smaller may be as empty as it likes.
_RATIO_FROM_BYTES = 1_000_000


@dataclass(frozen=True)
class ArchiveLimits:
    """Bounds on an archive: its files, their bytes together once they are unpacked, and unpacked / packed bytes."""

    files_max: int = 1_000_000
    unpacked_bytes_max: int = 1_000_000_000_000
    ratio_max: int = 200

    def check_files(self, count: int) -> None:
        """Raise a CatalogError if there are too many files."""
        if count > self.files_max:
            raise CatalogError(f"the archive has more than {self.files_max:,} files", hint="Import parts of it")

    def check_unpacked(self, unpacked_bytes: int) -> None:
        """Raise a CatalogError if the files are too large together."""
        if unpacked_bytes > self.unpacked_bytes_max:
            raise CatalogError(
                f"the archive has more than {self.unpacked_bytes_max:,} bytes when it is unpacked",
                hint="Import parts of it",
            )

    def inflates(self, unpacked_bytes: int, packed_bytes: int) -> bool:
        """Whether so many bytes of so few are no picture but an attempt to fill a memory or a disk."""
        return unpacked_bytes > _RATIO_FROM_BYTES and unpacked_bytes > self.ratio_max * packed_bytes


class ArchiveFiles(Protocol):
    """The plain files of an open archive. Threads may share it.

    `sizes` has the bytes of each by its path, without hidden ones; `links` are paths of links, which nobody follows.
    """

    @property
    def sizes(self) -> dict[str, int]: ...  # noqa: D102  # see the class

    @property
    def links(self) -> frozenset[str]: ...  # noqa: D102  # see the class

    def copy(self, path: str, target: BinaryIO, most_bytes: int) -> int:
        """Write the file with this path to `target`, up to `most_bytes` of it; returns how many bytes it has written.

        Raises:
            CatalogError: it is damaged, encrypted, or packed in an unknown way. The message completes "the file …".
            OSError: the target cannot be written.
        """


def member_path(name: str) -> str | None:
    """The path of a file in an archive with slashes and without `.`; None if it, or a folder above it, is hidden.

    Raises:
        CatalogError: it leads out of the archive.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if any(part in ("..", "/", "//") for part in parts):
        raise CatalogError("the archive has a file that leads out of it", hint="Make it again, with relative names")
    # macOS and editors add such ones.
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return None if hidden or not parts else "/".join(parts)
