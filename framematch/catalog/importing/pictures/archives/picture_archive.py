"""Pictures in an open archive."""

import io
from pathlib import PurePosixPath

from framematch.catalog.images import MAX_BYTES, ImageFile, image_file
from framematch.catalog.importing.pictures.archives.members import ArchiveFiles
from framematch.catalog.importing.pictures.names import shown_name
from framematch.catalog.importing.pictures.spellings import Spellings
from framematch.core.errors import CatalogError
from framematch.core.units import BYTES_PER_MB


class PictureArchive:
    """The pictures of an archive below one of its folders, a `PictureSource`. Threads may share it.

    `folder` is a path in the archive, "" for all of it; a name may begin with it, or with `name`, that of the archive.
    """

    def __init__(self, files: ArchiveFiles, folder: str, name: str) -> None:
        self._files = files
        self._prefix = f"{folder}/" if folder else ""
        self._sizes = {
            path.removeprefix(self._prefix): size for path, size in files.sizes.items() if path.startswith(self._prefix)
        }
        self._spellings = Spellings(lambda: self._sizes, [PurePosixPath(folder).name, name])

    def find(self, name: str) -> str:
        """The path of the picture that `name` means: the file of this name, if there is one, else `Spellings.find`.

        Raises:
            CatalogError: there is no such file, or there are several; the message names the nearest.
        """
        if name in self._sizes:
            return name
        if f"{self._prefix}{name}" in self._files.links:
            raise CatalogError(f"image {shown_name(name)!r} is a link in the archive; pack the file itself")
        return self._spellings.find(name)

    def find_address(self, address: str) -> str | None:
        """The path of the one picture with the name at the end of a web address, see `Spellings.find_address`."""
        return self._spellings.find_address(address)

    def size(self, path: str) -> int:
        """The size of the file with exactly this path, in bytes; 0 if there is none."""
        return self._sizes.get(path, 0)

    def read(self, path: str) -> ImageFile:
        """Read the file with exactly this path.

        Raises:
            CatalogError: there is none, it is damaged, encrypted or too large.
        """
        if path not in self._sizes:
            raise CatalogError(f"image {path!r} not found")
        data = io.BytesIO()
        try:
            written = self._files.copy(f"{self._prefix}{path}", data, MAX_BYTES + 1)
        except CatalogError as error:
            raise CatalogError(f"image {path!r} {error.message}") from None
        except OSError as error:
            raise CatalogError(f"image {path!r} cannot be read: {error}") from None
        if written > MAX_BYTES:
            raise CatalogError(f"image {path!r} has more than {MAX_BYTES // BYTES_PER_MB} MB")
        return image_file(path, data.getvalue())


def top_folder(files: ArchiveFiles) -> str:
    """The folder that contains all files of an archive, as one that was made of a folder has; "" if there is none."""
    tops = {PurePosixPath(path).parts[0] if "/" in path else "" for path in files.sizes}
    return tops.pop() if len(tops) == 1 else ""
