"""The files of a ZIP archive, which are read where they are."""

import lzma
import stat
import zipfile
import zlib
from threading import Lock
from typing import BinaryIO, Final, Self

from framematch.catalog.importing.pictures.archives.members import ArchiveLimits, member_path
from framematch.core.errors import CatalogError

PIECE_BYTES: Final = 1_048_576
_ENCRYPTED = 0x1
_UTF8_NAME = 0x800
_DAMAGE = (zipfile.BadZipFile, EOFError, ValueError, zlib.error, lzma.LZMAError)


class ZipFiles:
    """An open ZIP archive, see `ArchiveFiles`."""

    def __init__(self, file: BinaryIO, limits: ArchiveLimits) -> None:
        """List the archive.

        Raises:
            CatalogError: it is damaged, has too many or too large files, or names that lead out of it.
        """
        try:
            self._zip = zipfile.ZipFile(file)
        except (*_DAMAGE, OSError, NotImplementedError) as error:
            raise CatalogError(f"the archive cannot be unpacked: {error}", hint="Make it again") from None
        self._limits = limits
        self._lock = Lock()  # the archive counts its open files without one
        self._members: dict[str, zipfile.ZipInfo] = {}
        links = set()
        limits.check_files(sum(not member.is_dir() for member in self._zip.infolist()))
        for member in self._zip.infolist():
            if member.is_dir() or (path := member_path(_name(member))) is None:
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind in (0, stat.S_IFREG):
                self._members[path] = member  # of two with the same name the last counts, as in unzip
            else:
                links.add(path)
        self.links = frozenset(links)
        limits.check_unpacked(sum(member.file_size for member in self._members.values()))

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each file by its path, as the archive's own table says."""
        return {path: member.file_size for path, member in self._members.items()}

    def copy(self, path: str, target: BinaryIO, most_bytes: int) -> int:
        """Write up to `most_bytes` of a file to `target`; the checksum is compared when all of it was read.

        Raises:
            CatalogError: it is damaged, encrypted, or packed in an unknown way. The message completes "the file …".
            OSError: the target cannot be written.
        """
        member = self._members[path]
        if member.flag_bits & _ENCRYPTED:
            raise CatalogError("is encrypted; make the archive again, without a password")
        if self._limits.inflates(min(member.file_size, most_bytes), member.compress_size):
            raise CatalogError(f"is packed to less than a {self._limits.ratio_max}th, as no picture is")
        written = 0
        with self._lock:
            try:
                with self._zip.open(member) as source:
                    while written < most_bytes and (piece := source.read(min(PIECE_BYTES, most_bytes - written))):
                        target.write(piece)
                        written += len(piece)
            except (NotImplementedError, RuntimeError) as error:
                raise CatalogError(f"cannot be unpacked: {error}") from None
            except _DAMAGE as error:
                raise CatalogError(f"is damaged in the archive: {error}") from None
        return written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()


def _name(member: zipfile.ZipInfo) -> str:
    """The name; many programs write UTF-8 without saying so, and Python then reads it as the code page 437."""
    if member.flag_bits & _UTF8_NAME:
        return member.filename
    try:
        return member.filename.encode("cp437").decode()
    except UnicodeError:
        return member.filename
