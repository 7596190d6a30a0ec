"""`framematch catalog import`: stores the products of a shop's table and their pictures."""

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import new_console, print_text, warn
from framematch.cli.database import open_database
from framematch.cli.import_progress import import_bar
from framematch.cli.import_table import accounts_line, lacking_lines, report_lines
from framematch.core.errors import CatalogError
from framematch.core.paths import state_dir
from framematch.core.settings import Settings

if TYPE_CHECKING:
    from framematch.catalog.importing.accounts import ImportReport
    from framematch.catalog.importing.options import ImportOptions
    from framematch.catalog.products import ProductStore

_MAPPING, _PICTURES, _PRUNING = "How the file is read", "Pictures", "Products that the file lacks"


def import_file(  # each is an option of the command
    file: Annotated[Path, typer.Argument(help="A shop's export: CSV, JSON, XML, Parquet, or a ZIP archive with one.")],
    *,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER|ARCHIVE",
            help="What names of pictures are relative to.",
            show_default="the file's own folder",
            rich_help_panel=_PICTURES,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="The shop whose table it is.", show_default="told by its columns", rich_help_panel=_MAPPING),
    ] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN",
            help="The column that has a field, such as name=Title; give the option for each.",
            rich_help_panel=_MAPPING,
        ),
    ] = None,
    map_file: Annotated[
        Path | None, typer.Option(help="The same in a TOML file.", dir_okay=False, rich_help_panel=_MAPPING)
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Such as cp1252.", show_default="found out", rich_help_panel=_MAPPING)
    ] = None,
    decimal: Annotated[
        Literal[".", ","] | None,
        typer.Option(help="The decimal sign of prices.", show_default="found out", rich_help_panel=_MAPPING),
    ] = None,
    locale: Annotated[
        str | None, typer.Option(help="Which texts count, such as de_DE.", rich_help_panel=_MAPPING)
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help="Which texts and prices count, such as ecommerce.", rich_help_panel=_MAPPING)
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Download pictures from this host, such as *.example.com; give the option for each.",
            rich_help_panel=_PICTURES,
        ),
    ] = None,
    allow_any_public_host: Annotated[
        bool,
        typer.Option("--allow-any-public-host", help="Download pictures from everywhere.", rich_help_panel=_PICTURES),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse products with a bad picture.", rich_help_panel=_PICTURES)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, but store and download nothing.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Only show how the file is read; needs no MongoDB.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete products that the file lacks.", rich_help_panel=_PRUNING)
    ] = False,
    prune_max: Annotated[
        str, typer.Option(metavar="SHARE", help="Delete at most this share of all products.", rich_help_panel=_PRUNING)
    ] = "10%",
    refused: Annotated[
        Path | None,
        typer.Option(
            help="Where rows that were refused are written to.",
            show_default="import_refused.csv in the state folder",
            dir_okay=False,
        ),
    ] = None,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Import the products of a shop's export and their pictures; importing it again changes nothing.

    The columns say which shop it is. An own table has `id`, `name`, `image` and, if you like, `category`, `price`,
    `description`, `gtin`, `sku`, `currency` and `item_group_id`; other columns become attributes. `--explain` shows it.

    Rows of one product are merged. If one of them is refused, all are: correct them in the file that is named at the
    end, and import that. Exit code 0 when every row was imported, 1 when rows were refused, 2 when the file cannot be
    read.
    """
    settings = prepare_command("catalog", config)
    from framematch.catalog.importing.options import ImportOptions
    from framematch.catalog.importing.presets.mapping_options import MappingOptions, with_columns, with_mapping_file
    from framematch.catalog.importing.prune import parse_prune_max

    most = parse_prune_max(prune_max)
    mapping = with_columns(MappingOptions(preset, locale=locale, channel=channel, decimal=decimal), mapped or ())
    options = ImportOptions(
        images=images,
        mapping=with_mapping_file(mapping, map_file) if map_file else mapping,
        encoding=encoding,
        allowed_hosts=tuple(allow_host or ()),
        any_public_host=allow_any_public_host,
        strict=strict,
        dry_run=dry_run,
        find_lacking=prune,
        refused=refused,
        refused_folder=None if dry_run else state_dir(),
    )
    if explain:
        from framematch.cli.import_explained import show_explanation

        asyncio.run(show_explanation(file, options))
        return
    report = _import(settings, file, options, most)
    _check(report, file, options)


def _import(settings: Settings, file: Path, options: "ImportOptions", prune_max: float) -> "ImportReport":
    """Import, show the report, and delete what the file lacks, if it was asked for."""
    with import_bar() as bar:

        async def run() -> "ImportReport":
            from framematch.catalog.importing.importer import import_products
            from framematch.catalog.products import ProductStore

            async with open_database(settings) as database:
                store = ProductStore(database)
                report = await import_products(file, options, store, bar.show)
                bar.stop()
                console = new_console(soft_wrap=True)
                for line in report_lines(report):
                    console.print(line)
                if options.find_lacking:
                    await _prune(store, report, prune_max)
                console.print(accounts_line(report))
                return report

        try:
            return asyncio.run(run())
        except KeyboardInterrupt:
            bar.stop()
            done = f"{bar.done} of {bar.total} rows were imported" if bar.total else "no row was imported"
            warn(f"interrupted: {done}. The same command goes on from there")
            raise


async def _prune(store: "ProductStore", report: "ImportReport", prune_max: float) -> None:
    """Show the products that the file lacks, and delete them if that is safe.

    Raises:
        CatalogError: they are too many.
    """
    from framematch.catalog.importing.prune import delete_lacking

    if report.lacking is None:
        warn(f"no product is deleted: {report.not_lacking}")
        return
    console = new_console(soft_wrap=True)
    for line in lacking_lines(report.lacking):
        console.print(line)
    if not report.lacking.ids:
        return
    try:
        report.lacking.check(prune_max)
    except CatalogError:
        console.print(accounts_line(report))
        raise
    if not report.dry_run:
        await delete_lacking(store, report.lacking)
        print_text("They are deleted. Consumers search them until the next 'framematch catalog build'")


def _check(report: "ImportReport", file: Path, options: "ImportOptions") -> None:
    """Fail unless every row was imported.

    Raises:
        CatalogError: rows were refused, there are none, or the file was changed meanwhile.
    """
    if not report.read:
        raise CatalogError(f"{file} has no rows", hint="Write one product on each line, in CSV below the header")
    if report.refused:
        what = f"{report.refused} of {report.read} rows of {file} were refused"
        raise CatalogError(
            what if report.good else f"no row of {file} could be imported", hint=_correct(report, options, file)
        )
    if report.file_changed:
        raise CatalogError(f"{file} was changed while it was read", hint="Import it again when it is complete")


def _correct(report: "ImportReport", options: "ImportOptions", file: Path) -> str:
    """What to do about refused rows."""
    if report.refused_file is None:
        return "Correct them and import the file again"
    images = shlex.quote(str(options.images or file.parent))
    command = f"framematch catalog import {shlex.quote(str(report.refused_file))} --images {images}"
    return f"Correct them in {report.refused_file}, and import that with the same options: {command}"
