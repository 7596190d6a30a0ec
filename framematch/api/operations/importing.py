"""The operation `import`: products of an uploaded file, CSV, JSON lines, or a ZIP archive with pictures."""

import asyncio
import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from framematch.api.operations.refused_rows import write_refused_rows
from framematch.api.operations.work import Work
from framematch.catalog.building.folder import build_folder
from framematch.catalog.images import MAX_BYTES
from framematch.catalog.importing.importer import ImportReport, import_products
from framematch.catalog.products import ProductStore
from framematch.core.errors import CatalogError
from framematch.core.paths import state_dir
from framematch.core.private_files import make_private_folder
from framematch.core.units import BYTES_PER_MB

ARCHIVE_FILES_MAX: Final = 100_000
UNPACKED_BYTES_MAX: Final = 10_000_000_000
"""Of all files of an archive together. A single picture has at most `MAX_BYTES`."""

_CATALOGUE_SUFFIXES = {".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json"}
_CATALOGUE_BYTES_MAX = 1_000_000_000
_PIECE_BYTES = 1_048_576
_ZIP = b"PK\x03\x04"
_ERRORS = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError,
)  # fmt: skip


async def import_upload(work: Work) -> dict[str, Any]:
    """Import the uploaded file.

    Raises:
        CatalogError: it is no catalogue, or an archive that cannot be unpacked.
        MongoUnavailableError: MongoDB became unavailable.
    """
    work.meter.unit = "bytes"
    base = state_dir() / "operations"
    make_private_folder(base)
    with build_folder(base) as folder:
        report = await import_products(*await _fetch(work, folder), ProductStore(work.database), work.meter.report)
    await write_refused_rows(work.database, work.operation.id, report.problems)
    return _result(report)


async def _fetch(work: Work, folder: Path) -> tuple[Path, Path]:
    """The catalogue file and the folder of its pictures, in `folder`.

    Raises:
        CatalogError: the disk is full, or the archive cannot be unpacked.
    """
    upload, images = folder / "upload", folder / "files"
    try:
        images.mkdir()
        await work.files.fetch(work.parameters["upload"], "upload", upload)
        if not _is_zip(upload):
            return upload, images
    except OSError as error:
        raise CatalogError(f"cannot write to {folder}: {error.strerror}", hint="Check space and rights") from error
    # In a thread: the lease is renewed meanwhile.
    catalogue = await asyncio.to_thread(unpack, upload, images, check=lambda: work.meter.report(0, 0))
    return catalogue, catalogue.parent


def unpack(archive: Path, folder: Path, *, check: Callable[[], None] = lambda: None) -> Path:
    """Unpack a ZIP archive into an empty folder; returns its one catalogue file. `check` may interrupt.

    Nothing is written outside of the folder, and no links. Sizes are counted while unpacking, whatever the archive's
    own table says.

    Raises:
        CatalogError: it is damaged, too large, encrypted, or does not have one catalogue file.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if _is_wanted(member)]
            if len(members) > ARCHIVE_FILES_MAX:
                raise CatalogError(f"the archive has more than {ARCHIVE_FILES_MAX:,} files", hint="Import parts of it")
            catalogue = _catalogue(members)
            rest = UNPACKED_BYTES_MAX
            for member in members:
                check()
                limit = min(rest, _CATALOGUE_BYTES_MAX if member is catalogue else MAX_BYTES + 1)
                rest -= _unpack_one(opened, member, _target(folder, member), limit)
            return _target(folder, catalogue)
    except _ERRORS as error:
        raise CatalogError(
            f"the archive cannot be unpacked: {error}", hint="Make it again, without a password"
        ) from None


def _unpack_one(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, limit: int) -> int:
    """Write one file of up to `limit` bytes; a picture that is larger is cut, and refused when it is imported."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with opened.open(member) as source, target.open("wb") as file:
        while piece := source.read(_PIECE_BYTES):
            written += len(piece)
            if written > limit:
                if limit > MAX_BYTES:
                    file.write(piece)
                    return written
                raise CatalogError(
                    f"the archive has more than {UNPACKED_BYTES_MAX // BYTES_PER_MB:,} MB when it is unpacked",
                    hint="Import parts of it",
                )
            file.write(piece)
    return written


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    """Whether it is a plain file, and not one that macOS or an editor adds."""
    mode = member.external_attr >> 16
    is_plain = not member.is_dir() and (mode == 0 or stat.S_ISREG(mode) or not stat.S_IFMT(mode))
    return is_plain and not any(part != ".." and part.startswith((".", "__MACOSX")) for part in _parts(member))


def _catalogue(members: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    found = [one for one in members if PurePosixPath(one.filename).suffix.lower() in _CATALOGUE_SUFFIXES]
    if len(found) != 1:
        raise CatalogError(
            f"the archive has {len(found) or 'no'} catalogue files", hint="Put one CSV or JSON lines file into it"
        )
    return found[0]


def _target(folder: Path, member: zipfile.ZipInfo) -> Path:
    """Where it goes.

    Raises:
        CatalogError: outside of the folder.
    """
    parts = _parts(member)
    if any(part in ("..", "/") for part in parts):
        raise CatalogError("the archive has a file that leads out of it", hint="Make it again, with relative names")
    return folder.joinpath(*parts)


def _parts(member: zipfile.ZipInfo) -> tuple[str, ...]:
    return PurePosixPath(member.filename.replace("\\", "/")).parts


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP


def _result(report: ImportReport) -> dict[str, Any]:
    return {
        "read": report.read,
        "added": report.added,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "refused": report.left_out,
        "blank_lines": report.blank_lines,
        "respelled_images": report.respelled,
        "products_that_share_pictures": report.shared.products,
        "similar_ids": [list(pair) for pair in report.similar_ids],
    }
