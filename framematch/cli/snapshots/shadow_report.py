"""`framematch catalog shadow report`: how the shadow's decisions differ from those of the active snapshot."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import new_console
from framematch.cli.database import open_database
from framematch.core.errors import CatalogError
from framematch.core.settings import Settings

if TYPE_CHECKING:
    from framematch.catalog.mongo import Database
    from framematch.catalog.snapshots.names import SnapshotNames
    from framematch.cli.snapshots.shadow_report_text import ReportOfPair
    from framematch.matching.shadow.report import ShadowReport

app = typer.Typer()


@app.command(name="report", epilog="Example: `framematch catalog shadow report --json | jq .shares.changed.high`")
def shadow_report(
    active: Annotated[
        str | None, typer.Option(metavar="ID", help="The snapshot that was active. [default: the active one]")
    ] = None,
    shadow: Annotated[
        str | None, typer.Option(metavar="ID", help="The snapshot that was the shadow. [default: the shadow]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with all products and cameras.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Compare the decisions of the shadow with those of the active snapshot, as consumers have counted them.

    Shares have a 95 % confidence interval, for which the minutes of each camera count as independent of each other.
    """
    settings = prepare_command("catalog", config)
    from framematch.cli.snapshots.shadow_report_text import report_json, report_texts

    found = asyncio.run(_read(settings, active, shadow))
    console = new_console(soft_wrap=True)
    if as_json:
        console.out_json(report_json(found))
        return
    for text in report_texts(found):
        console.print(text)


async def _read(settings: Settings, active: str | None, shadow: str | None) -> "ReportOfPair":
    from framematch.catalog.operations.overview import serving_of
    from framematch.catalog.snapshots.names import read_names
    from framematch.catalog.snapshots.serving_status import read_statuses
    from framematch.cli.snapshots.shadow_report_text import ReportOfPair
    from framematch.matching.shadow.store import read_report

    async with open_database(settings) as database:
        names = await read_names(database)
        shadow_id = await _snapshot(database, shadow, names.shadow, "there is no shadow")
        active_id = await _snapshot(database, active, names.active, "no snapshot is active")
        report = await read_report(database, active_id, shadow_id)
        if not _is_current(names, report):
            return ReportOfPair(report, None, None)
        serving = serving_of(await read_statuses(database), shadow_id, since_version=names.version)
        return ReportOfPair(report, names.shadow_sample, serving)


async def _snapshot(database: "Database", reference: str | None, named: str | None, missing: str) -> str:
    from framematch.catalog.snapshots.listing import find_snapshot

    if reference is not None:
        return await find_snapshot(database, reference)
    if named is None:
        raise CatalogError(
            missing,
            hint="Run 'framematch catalog shadow ID', or name two snapshots with --active and --shadow",
        )
    return named


def _is_current(names: "SnapshotNames", report: "ShadowReport") -> bool:
    return (names.active, names.shadow) == (report.active, report.shadow)
