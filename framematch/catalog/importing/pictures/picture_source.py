"""Where pictures with names come from: a folder or an archive."""

from dataclasses import dataclass
from typing import Protocol

from framematch.catalog.images import ImageFile
from framematch.catalog.importing.pictures.names import shown_name
from framematch.core.errors import CatalogError


@dataclass(frozen=True)
class Respelling:
    """A picture that was found under another name than the catalogue file gives."""

    name: str
    found: str


class PictureSource(Protocol):
    """Pictures with paths. Threads may share it."""

    def find(self, name: str) -> str:
        """The path of the picture that `name` means.

        Raises:
            CatalogError: there is none, or there are several; the message names the nearest.
        """

    def find_address(self, address: str) -> str | None:
        """The path of the one picture whose name is the last part of a web address; None: there is none, or several."""

    def size(self, path: str) -> int:
        """The size of the picture with exactly this path in bytes, 0 if it is not known."""

    def read(self, path: str) -> ImageFile:
        """Read the picture with exactly this path.

        Raises:
            CatalogError: it cannot be read, or has more than `MAX_BYTES` (`framematch.catalog.images`).
        """


class NoFiles:
    """The `PictureSource` when neither a folder nor an archive is given."""

    def find(self, name: str) -> str:
        """There is none."""
        raise CatalogError(f"image {shown_name(name)!r} is a file; name its folder or archive with --images")

    def find_address(self, _address: str) -> str | None:
        """There is none."""
        return None

    def size(self, _path: str) -> int:
        """Nothing is known."""
        return 0

    def read(self, path: str) -> ImageFile:
        """There is none."""
        raise CatalogError(f"image {path!r} not found")
