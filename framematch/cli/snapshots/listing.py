"""`framematch catalog snapshots`, `show` and `diff`: looks at index snapshots."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import new_console, print_text
from framematch.cli.database import open_database
from framematch.core.paths import state_dir
from framematch.core.settings import Settings

if TYPE_CHECKING:
    from framematch.catalog.operations.overview import Overview
    from framematch.catalog.snapshots.diff import SnapshotDiff
    from framematch.catalog.snapshots.listing import StoredSnapshot

REFERENCE = "Id, the unique start of one, or a name: `active`, `previous`, `shadow`."

app = typer.Typer()


@app.command(name="snapshots", epilog="Example: `framematch catalog snapshots --json | jq -r .snapshot`")
def list_snapshots(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """List index snapshots, the newest first, with their names and how many processes serve them."""
    settings = prepare_command("catalog", config)
    from framematch.cli.snapshots.table import problem_lines, snapshot_json, snapshot_table

    overview = asyncio.run(_read(settings))
    console = new_console(soft_wrap=True)
    if as_json:
        for snapshot in overview.snapshots:
            console.out_json(snapshot_json(overview, snapshot))
    elif not overview.snapshots:
        print_text("There is no snapshot. Run 'framematch catalog build'")
    else:
        console.print(snapshot_table(overview))
        for line in problem_lines(overview):
            print_text(line)
    if overview.names_error:
        raise overview.names_error


@app.command(epilog="Example: `framematch catalog show active`")
def show(
    snapshot: Annotated[str, typer.Argument(metavar="ID", help=REFERENCE)] = "active",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with the whole manifest.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Show everything about one snapshot: contents, model, index, thresholds, files, and which processes serve it."""
    settings = prepare_command("catalog", config)
    from framematch.cli.snapshots.table import detail_lines, details_json

    overview, found = asyncio.run(_read_one(settings, snapshot))
    if as_json:
        new_console(soft_wrap=True).out_json(details_json(overview, found))
        return
    for line in detail_lines(overview, found):
        print_text(line)


@app.command(epilog="Example: `framematch catalog diff previous active --limit 100`")
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help=REFERENCE)] = "previous",
    after: Annotated[str, typer.Argument(metavar="B", help="The same.")] = "active",
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of products; JSON has all.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with all products.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Compare two snapshots: products added, removed and with other pictures; model, index and thresholds.

    It reads their tables of rows, and no vectors. Later changes, which are searched beside a snapshot, do not count.
    """
    settings = prepare_command("catalog", config)
    from framematch.cli.snapshots.diff_table import diff_json, diff_lines

    first, second, found = asyncio.run(_diff(settings, before, after))
    if as_json:
        new_console(soft_wrap=True).out_json(diff_json(first, second, found))
        return
    for line in diff_lines(first, second, found, limit):
        print_text(line)


async def _read(settings: Settings) -> "Overview":
    from framematch.catalog.operations.overview import read_overview

    async with open_database(settings) as database:
        return await read_overview(database)


async def _read_one(settings: Settings, reference: str) -> "tuple[Overview, StoredSnapshot]":
    from framematch.catalog.snapshots.listing import match_reference

    overview = await _read(settings)
    stored = {snapshot.id: snapshot for snapshot in overview.snapshots}
    if overview.names_error and reference not in stored:
        raise overview.names_error
    return overview, stored[match_reference(reference, stored, overview.names)]


async def _diff(settings: Settings, before: str, after: str) -> "tuple[str, str, SnapshotDiff]":
    from framematch.catalog.snapshots.diff import diff_snapshots
    from framematch.catalog.snapshots.listing import find_snapshot
    from framematch.catalog.snapshots.storage import open_storage
    from framematch.catalog.snapshots.store import load_manifest, load_rows

    async with open_database(settings) as database:
        storage = open_storage(settings.snapshots.url, database)
        ids = [await find_snapshot(database, reference) for reference in (before, after)]
        first, second = [await load_manifest(database, snapshot_id) for snapshot_id in ids]
        rows = [await load_rows(storage, state_dir() / "snapshots", manifest) for manifest in (first, second)]
    return first.id, second.id, diff_snapshots(first, rows[0], second, rows[1])
