"""The operation `import`: products of an uploaded file: a shop's table, or a ZIP archive with one and its pictures."""

from pathlib import Path
from typing import Any

from framematch.api.operations.refused_rows import write_refused_rows
from framematch.api.operations.work import Work
from framematch.catalog.building.folder import build_folder
from framematch.catalog.importing.accounts import ImportReport
from framematch.catalog.importing.importer import import_products
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.importing.pictures.archives.opening import is_zip
from framematch.catalog.products import ProductStore
from framematch.core.errors import CatalogError
from framematch.core.paths import state_dir
from framematch.core.private_files import make_private_folder


async def import_upload(work: Work) -> dict[str, Any]:
    """Import the uploaded file. Pictures are those of an archive, and those that are stored already.

    Raises:
        CatalogError: it is no table of products, or an archive that cannot be read.
        MongoUnavailableError: MongoDB became unavailable.
    """
    work.meter.unit = "rows"
    base = state_dir() / "operations"
    make_private_folder(base)
    with build_folder(base) as folder:
        upload, no_pictures = await _fetch(work, folder)
        options = ImportOptions(images=None if is_zip(upload) else no_pictures)
        report = await import_products(upload, options, ProductStore(work.database), work.meter.report)
    await write_refused_rows(work.database, work.operation.id, report.problems)
    return _result(report)


async def _fetch(work: Work, folder: Path) -> tuple[Path, Path]:
    """The uploaded file, and an empty folder.

    Raises:
        CatalogError: the disk is full.
    """
    upload, empty = folder / "upload", folder / "empty"
    try:
        empty.mkdir()
        await work.files.fetch(work.parameters["upload"], "upload", upload)
    except OSError as error:
        raise CatalogError(f"cannot write to {folder}: {error.strerror}", hint="Check space and rights") from error
    return upload, empty


def _result(report: ImportReport) -> dict[str, Any]:
    return {
        "read": report.read,
        "added": report.added,
        "changed": report.changed,
        "same": report.same,
        "merged": report.merged,
        "refused": report.refused,
        "blank_lines": report.blank_lines,
        "respelled_images": report.respelled,
        "products_that_share_pictures": report.shared.products,
        "similar_ids": [list(pair) for pair in report.similar_ids],
    }
