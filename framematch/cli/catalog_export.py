"""`framematch catalog export`: writes the catalogue as a file that an import takes as it is."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command, progress_bar
from framematch.cli.console import new_console
from framematch.cli.database import open_database
from framematch.cli.text import counted
from framematch.core.errors import UsageError

if TYPE_CHECKING:
    from framematch.catalog.exporting.export import Export
    from framematch.core.settings import Settings

STDOUT = Path("-")


def export_file(
    file: Annotated[Path, typer.Argument(help="The file to write, or `-` for the standard output.")],
    file_format: Annotated[
        Literal["csv", "jsonl"] | None,
        typer.Option("--format", help="For spreadsheets, or exactly (JSON lines).", show_default="by the file's name"),
    ] = None,
    category: Annotated[str | None, typer.Option(help="Only products of this category.")] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", file_okay=False, help="Also write the pictures there; the file names them."),
    ] = None,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Write all products into a file that `catalog import` takes as it is: importing it changes nothing.

    Without `--pictures` the file has the pictures' digests, which an import of the same catalogue knows. Cells that a
    spreadsheet would compute get an apostrophe, which the import takes away again.
    """
    settings = prepare_command("catalog", config)
    chosen = file_format or ("csv" if file.suffix.lower() == ".csv" else "jsonl")
    with _opened(file) as target:
        export = asyncio.run(_export(settings, target, chosen, category, pictures))
    console = new_console(soft_wrap=True, stderr=True)
    where = "the standard output" if file == STDOUT else str(file)
    console.print(f"{counted(export.products, 'product')} exported to {where}")
    if export.pictures is not None and export.pictures.missing:
        gone = counted(len(export.pictures.missing), "picture")
        console.print(f"Warning: {gone} could not be read, and stand there by their digests alone")
    if pictures is not None and file != STDOUT:
        console.print(f"Import it with: framematch catalog import {file} --images {pictures}")


async def _export(
    settings: "Settings",
    target: BinaryIO,
    file_format: Literal["csv", "jsonl"],
    category: str | None,
    pictures: Path | None,
) -> "Export":
    from framematch.catalog.exporting.export import Export
    from framematch.catalog.exporting.picture_files import PictureFiles
    from framematch.catalog.products import ProductStore

    async with open_database(settings) as database:
        store = ProductStore(database)
        folder = None if pictures is None else PictureFiles(store, pictures)
        export = Export(store, file_format, category, folder)
        with progress_bar("Exporting", "products") as show:
            async for piece in export.pieces(lambda: show(export.products, export.total)):
                await asyncio.to_thread(target.write, piece)
    return export


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """The standard output, or a new file beside `file` that takes its place when all is written."""
    if file == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as target:
            yield target
        part.replace(file)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}", hint="Check the path and the disk") from None
    finally:
        part.unlink(missing_ok=True)
