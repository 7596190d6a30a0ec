"""The operation `import`: products of an uploaded file: a shop's table, or a ZIP archive with one and its pictures."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from framematch.api.operations.refused_rows import write_refused_rows
from framematch.api.operations.work import Work
from framematch.catalog.building.folder import build_folder
from framematch.catalog.importing.accounts import ImportReport
from framematch.catalog.importing.files.encodings import known_encoding
from framematch.catalog.importing.importer import import_products
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.importing.pictures.archives.opening import is_zip
from framematch.catalog.importing.presets.choose import presets_named
from framematch.catalog.importing.presets.mapping_options import MappingOptions, with_columns
from framematch.catalog.importing.prune import delete_lacking
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
        options = replace(
            _options(work.parameters),
            images=None if is_zip(upload) else no_pictures,
            allowed_hosts=work.settings.api.import_hosts,
        )
        store = ProductStore(work.database)
        report = await import_products(upload, options, store, work.meter.report)
    await write_refused_rows(work.database, work.operation.id, report.problems)
    result = {"dry_run": report.dry_run, **_accounts(report)}
    if not options.find_lacking:
        return result
    return {**result, **await _prune(store, report, work.parameters["prune_max"])}


def check_import(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that no file can be imported with.

    Raises:
        UsageError: there is no such preset, field or encoding.
    """
    options = _options(parameters)
    if options.mapping.preset is not None:
        presets_named(options.mapping.preset)
    if options.encoding is not None:
        known_encoding(options.encoding)


def _options(parameters: Mapping[str, Any]) -> ImportOptions:
    """The options without pictures. One that an operation of an older version does not have is as if not given."""
    texts = (parameters.get(name) for name in ("preset", "locale", "channel", "decimal"))
    preset, locale, channel, decimal = texts
    mapping = MappingOptions(preset, locale=locale, channel=channel, decimal=decimal)
    return ImportOptions(
        mapping=with_columns(mapping, parameters.get("map", ())),
        encoding=parameters.get("encoding"),
        strict=parameters.get("strict", False),
        dry_run=parameters.get("dry_run", False),
        find_lacking=parameters.get("prune", False),
    )


async def _prune(store: ProductStore, report: ImportReport, prune_max: float) -> dict[str, Any]:
    """Delete what the file lacks, if that is safe: how many there are, some of them, and why they are kept."""
    lacking = report.lacking
    if lacking is None:
        return {"lacking": None, "deleted": 0, "not_deleted": report.not_lacking}
    found = {"lacking": len(lacking.ids), "lacking_first": [product_id for product_id, _name in lacking.first]}
    if report.dry_run:
        return {**found, "deleted": 0, "not_deleted": "dry run"}
    try:
        lacking.check(prune_max)
    except CatalogError as error:
        return {**found, "deleted": 0, "not_deleted": f"{error.message}. {error.hint}"}
    await delete_lacking(store, lacking)
    return {**found, "deleted": len(lacking.ids), "not_deleted": None}


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


def _accounts(report: ImportReport) -> dict[str, Any]:
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
