"""The files of a tar archive, which are read where they are; a compressed one is first unpacked as a whole."""

import gzip
import os
import tarfile
import zlib
from typing import BinaryIO, Self

from framematch.catalog.importing.pictures.archives.members import ArchiveLimits, member_path
from framematch.catalog.importing.pictures.archives.zip_files import PIECE_BYTES
from framematch.core.errors import CatalogError

# A tar of empty files is so large.
_UNPACKED_AT_LEAST_BYTES = 100_000_000


class TarFiles:
    """An open tar archive that is not compressed, see `ArchiveFiles`. Its checksums are of names, not of contents."""

    def __init__(self, file: BinaryIO, limits: ArchiveLimits) -> None:
        """List the archive.

        Raises:
            CatalogError: it is damaged, has too many or too large files, or names that lead out of it.
        """
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}
        links = set()
        unpacked_bytes = count = 0
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    count += 1
                    limits.check_files(count)
                    path = None if member.isdir() else member_path(member.name)
                    if path is not None and member.isfile() and not member.issparse():
                        self._places[path] = (member.offset_data, member.size)
                        unpacked_bytes += member.size
                    elif path is not None:
                        links.add(path)
                    tar.members = []  # type: ignore[attr-defined]  # untyped; else it keeps a kilobyte for each file
        except (tarfile.TarError, ValueError, EOFError, OSError) as error:
            raise CatalogError(
                f"the archive is damaged or incomplete: {error}", hint="Copy it again, or make it again"
            ) from None
        self.links = frozenset(links)
        limits.check_unpacked(unpacked_bytes)

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each file by its path."""
        return {path: size for path, (_, size) in self._places.items()}

    def copy(self, path: str, target: BinaryIO, most_bytes: int) -> int:
        """Write up to `most_bytes` of a file to `target`.

        Raises:
            CatalogError: the archive ends within it. The message completes "the file …".
        """
        start, size = self._places[path]
        end = min(size, most_bytes)
        written = 0
        while written < end:
            # Threads read at the same time, so without a position of the file.
            piece = os.pread(self._file.fileno(), min(PIECE_BYTES, end - written), start + written)
            if not piece:
                raise CatalogError("is incomplete: the archive ends within it")
            target.write(piece)
            written += len(piece)
        return written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass  # who opened the file closes it


def gunzip(packed: BinaryIO, target: BinaryIO, limits: ArchiveLimits) -> None:
    """Unpack a gzip file to `target`, whose checksum is compared.

    Raises:
        CatalogError: it is damaged, or becomes too large.
        OSError: the target cannot be written.
    """
    packed_bytes = os.fstat(packed.fileno()).st_size
    unpacked_bytes = 0
    with gzip.GzipFile(fileobj=packed) as unpacked:
        while piece := _next_piece(unpacked):
            unpacked_bytes += len(piece)
            limits.check_unpacked(unpacked_bytes)
            if unpacked_bytes > _UNPACKED_AT_LEAST_BYTES and limits.inflates(unpacked_bytes, packed_bytes):
                raise CatalogError(
                    f"the archive is packed to less than a {limits.ratio_max}th, as no pictures are",
                    hint="Import a folder or a ZIP archive",
                )
            target.write(piece)
    target.seek(0)


def _next_piece(unpacked: gzip.GzipFile) -> bytes:
    try:
        return unpacked.read(PIECE_BYTES)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CatalogError(f"the archive is damaged or incomplete: {error}", hint="Copy it again") from None
