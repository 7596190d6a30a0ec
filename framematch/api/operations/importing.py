"""The operation `import`: products of an uploaded file, CSV, JSON lines, or a ZIP archive with pictures."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from framematch.api.operations.refused_rows import write_refused_rows
from framematch.api.operations.work import Work
from framematch.catalog.building.folder import build_folder
from framematch.catalog.images import MAX_BYTES
from framematch.catalog.importing.importer import ImportReport, import_products
from framematch.catalog.importing.pictures.archives.members import ArchiveLimits
from framematch.catalog.importing.pictures.archives.opening import CATALOGUE_BYTES_MAX, catalogue_path, is_zip
from framematch.catalog.importing.pictures.archives.zip_files import ZipFiles
from framematch.catalog.products import ProductStore
from framematch.core.errors import CatalogError
from framematch.core.paths import state_dir
from framematch.core.private_files import make_private_folder

ARCHIVE_FILES_MAX: Final = 100_000
UNPACKED_BYTES_MAX: Final = 10_000_000_000
"""Of all files of an archive together. A single picture has at most `MAX_BYTES`."""


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
        if not is_zip(upload):
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
    limits = ArchiveLimits(files_max=ARCHIVE_FILES_MAX, unpacked_bytes_max=UNPACKED_BYTES_MAX)
    with archive.open("rb") as file, ZipFiles(file, limits) as files:
        catalogue = catalogue_path(files.sizes)
        for path in files.sizes:
            check()
            # A larger picture is cut, and refused when it is imported.
            most_bytes = CATALOGUE_BYTES_MAX if path == catalogue else MAX_BYTES + 1
            try:
                _unpack_one(files, path, folder / path, most_bytes)
            except (CatalogError, OSError) as error:
                raise CatalogError(
                    f"the archive cannot be unpacked: {path} {error}", hint="Make it again, without a password"
                ) from None
        return folder / catalogue


def _unpack_one(files: ZipFiles, path: str, target: Path, most_bytes: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        files.copy(path, file, most_bytes)


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
