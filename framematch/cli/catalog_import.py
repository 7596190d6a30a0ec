"""`framematch catalog import`: stores the products of a catalogue file and their pictures."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command, progress_bar
from framematch.cli.console import new_console
from framematch.cli.database import open_database
from framematch.cli.import_table import report_lines
from framematch.core.errors import CatalogError, UsageError
from framematch.core.paths import state_dir
from framematch.core.units import BYTES_PER_KB

if TYPE_CHECKING:
    from framematch.catalog.importing.importer import ImportReport

PROBLEMS_FILE = "import_problems.csv"


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV with a header, or JSON lines (one object on each line).")],
    images: Annotated[
        Path | None, typer.Option(help="Folder that image paths are relative to.", show_default="the file's own")
    ] = None,
    problems: Annotated[
        Path | None,
        typer.Option(
            help="CSV file for the rows that were left out, and why.",
            show_default=f"{PROBLEMS_FILE} in the state folder",
            dir_okay=False,
        ),
    ] = None,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Import products and their pictures; importing the same file again changes nothing.

    Columns: `id`, `name`, `image` (several paths separated by `;`, or a list `images` in JSON), and optionally
    `category`, `price`, `description`. Every other column is stored as an attribute and is part of the match events.

    A row that is invalid is left out, all others are imported. Exit code 0 when every row was imported, 1 when rows
    were left out, 2 when the file cannot be read.
    """
    settings = prepare_command("catalog", config)
    if problems:
        _check_writable(problems, file)
    from framematch.catalog.importing.importer import import_products
    from framematch.catalog.products import ProductStore

    async def run() -> "ImportReport":
        async with open_database(settings) as database:
            with progress_bar("Importing", "kB") as show:
                return await import_products(
                    file,
                    images or file.parent,
                    ProductStore(database),
                    lambda done, total: show(done // BYTES_PER_KB, total // BYTES_PER_KB),
                )

    report = asyncio.run(run())
    console = new_console(soft_wrap=True)
    for line in report_lines(report):
        console.print(line)
    written = _write_problems(report, problems)
    if not report.read:
        raise CatalogError(f"{file} has no rows", hint="Write one product on each line, in CSV below the header")
    if report.left_out:
        left_out = f"{report.left_out} of {report.read} rows of {file} were left out"
        what = left_out if report.good else f"no row of {file} could be imported"
        raise CatalogError(what, hint=f"{written}. Correct them and import the file again")
    if report.file_changed:
        raise CatalogError(f"{file} was changed while it was read", hint="Import it again when it is complete")


def _check_writable(problems: Path, file: Path) -> None:
    from framematch.catalog.importing.problems import write_problems

    if problems.resolve() == file.resolve():
        raise UsageError("--problems names the catalogue file itself", hint="Name another file")
    try:
        write_problems((), problems)
    except OSError as error:
        raise UsageError(f"cannot write {problems}: {error.strerror}", hint="Check the path") from None


def _write_problems(report: "ImportReport", given: Path | None) -> str:
    """Write all problems, if there are any; returns where they are, in words."""
    from framematch.catalog.importing.problems import write_problems

    path = given or state_dir() / PROBLEMS_FILE
    if not report.problems:
        return ""
    try:
        write_problems(report.problems, path)
    except OSError as error:
        return f"They cannot be listed in {path} ({error.strerror}): name another file with --problems"
    return f"All are listed in {path}"
