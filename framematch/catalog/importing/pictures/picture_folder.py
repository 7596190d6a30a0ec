"""Pictures in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from framematch.catalog.images import ImageFile, read_image
from framematch.catalog.importing.pictures.spellings import Spellings

# A folder with more files, such as a home folder, is not searched for other spellings.
MAX_FILES = 200_000


class PictureFolder:
    """The pictures below the resolved folder `root`, a `PictureSource`. Threads may share it.

    With `has_addresses` a file may be the picture of a web address that ends with its name.
    """

    def __init__(self, root: Path, *, has_addresses: bool = True) -> None:
        self.root = root
        self._has_addresses = has_addresses
        self._prefix = f"{root}{os.sep}"
        self._spellings = Spellings(self._paths, [root.name])

    def find(self, name: str) -> str:
        """The path, relative to `root`, of the picture that `name` means: the file of this name, if there is one.

        Else see `Spellings.find`. The path may still be a link that leads out of the folder.

        Raises:
            CatalogError: there is no such file, or there are several; the message names the nearest.
        """
        if self._exists(name):
            return name
        return self._spellings.find(name)

    def find_address(self, address: str) -> str | None:
        """The path of the one picture with the name at the end of a web address, see `Spellings.find_address`."""
        return self._spellings.find_address(address) if self._has_addresses else None

    def size(self, path: str) -> int:
        """The size of the file of exactly this name, in bytes; 0 if there is none."""
        try:
            return os.stat(os.path.join(self._prefix, path)).st_size  # noqa: PTH116, PTH118  # see `_exists`
        except (OSError, ValueError):  # a NUL in the name
            return 0

    def read(self, path: str) -> ImageFile:
        """Read the file of exactly this name.

        Raises:
            CatalogError: it is missing, outside of the folder, unreadable or too large.
        """
        return read_image(self.root, path)

    def _exists(self, name: str) -> bool:
        # Asked for each picture of a catalogue, and `Path` takes more than twice as long.
        return os.path.isfile(os.path.join(self._prefix, name))  # noqa: PTH113, PTH118  # faster, see above

    def _paths(self) -> Iterator[str]:
        """The paths of all files, none if there are too many."""
        paths: list[str] = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            paths += [f"{folder}/{name}".removeprefix(f"{self.root}/") for name in names]
            if len(paths) > MAX_FILES:
                return iter(())
        return iter(paths)
