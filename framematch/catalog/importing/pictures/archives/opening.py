"""Opens archives: of pictures, or of a catalogue file with its pictures."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from framematch.catalog.importing.pictures.archives.members import ArchiveFiles, ArchiveLimits
from framematch.catalog.importing.pictures.archives.picture_archive import PictureArchive, top_folder
from framematch.catalog.importing.pictures.archives.tar_files import TarFiles, gunzip
from framematch.catalog.importing.pictures.archives.zip_files import ZipFiles
from framematch.catalog.importing.pictures.picture_folder import PictureFolder
from framematch.catalog.importing.pictures.picture_source import PictureSource
from framematch.core.errors import CatalogError, UsageError
from framematch.core.paths import cache_dir
from framematch.core.private_files import make_private_folder

CATALOGUE_BYTES_MAX: Final = 1_000_000_000
"""Of the catalogue file in an archive."""

_CATALOGUE_SUFFIXES = {".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".xml", ".parquet"}
_WORKBOOK = "xl/workbook.xml"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP = b"\x1f\x8b"
_TAR, _TAR_AT = b"ustar", 257
_HEAD_BYTES = 512
_LIMITS = ArchiveLimits()


@dataclass(frozen=True)
class ArchiveCatalogue:
    """The catalogue file of an archive: its path there, its content, and the pictures in its folder and below."""

    path: str
    file: BinaryIO
    pictures: PictureSource


@contextmanager
def open_pictures(path: Path) -> Iterator[PictureSource]:
    """The pictures of a folder, or of a `.zip`, `.tar` or `.tar.gz` archive, as long as the context lasts.

    A compressed tar archive is unpacked to a file without a name in the cache folder, which ends with the process.

    Raises:
        UsageError: there is neither, or it cannot be read.
        CatalogError: the archive is damaged, or dangerous.
    """
    if path.is_dir():
        yield PictureFolder(path.resolve())
        return
    with ExitStack() as opened:
        files = _open_files(path, opened)
        yield PictureArchive(files, top_folder(files), _stem(path))


@contextmanager
def open_archive_catalogue(path: Path, limits: ArchiveLimits = _LIMITS) -> Iterator[ArchiveCatalogue]:
    """The one catalogue file of a ZIP archive, and its pictures, as long as the context lasts.

    Raises:
        UsageError: the file cannot be read.
        CatalogError: it is damaged or dangerous, or does not have one catalogue file.
    """
    with ExitStack() as opened:
        files = opened.enter_context(ZipFiles(_open(path, opened), limits))
        catalogue = catalogue_path(files.sizes)
        file = opened.enter_context(_nameless_file())
        try:
            written = files.copy(catalogue, file, CATALOGUE_BYTES_MAX + 1)
        except CatalogError as error:
            raise CatalogError(f"the archive cannot be unpacked: {catalogue} {error.message}") from None
        except OSError as error:
            raise CatalogError(
                f"cannot unpack {path} to {cache_dir()}: {error.strerror}", hint="Check the space there"
            ) from None
        if written > CATALOGUE_BYTES_MAX:
            raise CatalogError(
                f"{catalogue} in the archive has more than {CATALOGUE_BYTES_MAX:,} bytes", hint="Import parts of it"
            )
        file.seek(0)
        folder = str(PurePosixPath(catalogue).parent).removeprefix(".")
        yield ArchiveCatalogue(catalogue, file, PictureArchive(files, folder, _stem(path)))


def is_zip(path: Path) -> bool:
    """Whether a file begins as a ZIP archive does; not if it is a pipe, which can be read only once."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_ZIP[0])) in _ZIP


def catalogue_path(paths: Iterable[str]) -> str:
    """The path of the one catalogue file among the files of an archive; a `.txt` file counts if there is no other.

    Raises:
        CatalogError: there is none, or there are several.
    """
    all_paths = set(paths)
    if _WORKBOOK in all_paths:
        raise CatalogError("the file is an Excel workbook", hint="Save it as CSV (UTF-8) in Excel")
    found = [path for path in all_paths if PurePosixPath(path).suffix.lower() in _CATALOGUE_SUFFIXES]
    found = [path for path in found if not path.lower().endswith(".txt")] or found
    if len(found) != 1:
        raise CatalogError(
            f"the archive has {len(found) or 'no'} catalogue files", hint="Put one CSV or JSON lines file into it"
        )
    return found[0]


def _open_files(path: Path, opened: ExitStack) -> ArchiveFiles:
    file = _open(path, opened)
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if head.startswith(_ZIP):
        return opened.enter_context(ZipFiles(file, _LIMITS))
    if head.startswith(_GZIP):
        unpacked = opened.enter_context(_nameless_file())
        try:
            gunzip(file, unpacked, _LIMITS)
        except OSError as error:
            raise CatalogError(
                f"cannot unpack {path} to {cache_dir()}: {error.strerror}",
                hint="Check the space, or unpack it yourself",
            ) from None
        return opened.enter_context(TarFiles(unpacked, _LIMITS))
    if head[_TAR_AT:].startswith(_TAR):
        return opened.enter_context(TarFiles(file, _LIMITS))
    raise UsageError(
        f"{path} is neither a folder nor a ZIP or tar archive",
        hint="Name the folder of the images with --images, or a .zip, .tar or .tar.gz archive",
    )


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def _open(path: Path, opened: ExitStack) -> BinaryIO:
    if not path.exists():
        raise UsageError(f"there is no folder or archive {path}", hint="Name the folder of the images with --images")
    try:
        return opened.enter_context(path.open("rb"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="Check the path") from None


@contextmanager
def _nameless_file() -> Iterator[BinaryIO]:
    """An empty file that no other process can open, and that ends with this one."""
    folder = cache_dir()
    try:
        make_private_folder(folder)
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed below
    except OSError as error:
        raise CatalogError(f"cannot write to {folder}: {error.strerror}", hint="Check space and rights") from None
    with file:
        yield file
