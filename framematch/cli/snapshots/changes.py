"""`framematch catalog activate`, `rollback` and `promote`: changes which snapshot is active."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import new_console, print_text, warn
from framematch.cli.database import open_database
from framematch.cli.snapshots.serving_wait import served_by_all, wait_until_served
from framematch.core.errors import CatalogError
from framematch.core.settings import Settings

if TYPE_CHECKING:
    from framematch.catalog.mongo import Database
    from framematch.catalog.operations.activation import NamesChange
    from framematch.catalog.snapshots.names import SnapshotNames
    from framematch.matching.shadow.condition import Condition

app = typer.Typer()

Expected = Annotated[
    str | None,
    typer.Option("--expect", metavar="ID", help="Change nothing unless this snapshot is active (id, or its start)."),
]
Waiting = Annotated[
    float | None,
    typer.Option("--wait", metavar="S", min=0, help="Wait up to S seconds until all running processes serve it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object: the names before and after.")]


@dataclass(frozen=True)
class _Options:
    expect: str | None
    wait_s: float | None
    as_json: bool


@app.command(epilog="Example: `framematch catalog activate 20260131T120000Z-1a2b3c4d --wait 30`")
def activate(
    snapshot: Annotated[str, typer.Argument(metavar="ID", help="Id, the unique start of one, or a name.")],
    expect: Expected = None,
    wait: Waiting = None,
    as_json: AsJson = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Make a snapshot the active one: all consumers change to it, without a pause.

    The one before becomes `previous`. Exit code 1 when it cannot be activated, and with `--wait` also when a process
    refuses it or the time is over.
    """
    settings = prepare_command("catalog", config)
    asyncio.run(_activate(settings, snapshot, _Options(expect, wait, as_json=as_json)))


@app.command(epilog="Example: `framematch catalog rollback --wait 30`")
def rollback(
    expect: Expected = None, wait: Waiting = None, as_json: AsJson = False, config: Path | None = CONFIG_OPTION
) -> None:
    """Make the previous snapshot the active one again; the active one becomes the previous one.

    A second rollback undoes the first: a script gives `--expect`.
    """
    settings = prepare_command("catalog", config)
    asyncio.run(_change(settings, lambda names: names.rolled_back(), _Options(expect, wait, as_json=as_json)))


@app.command(epilog="Example: `framematch catalog promote --if 'changed<=2%,regions>=5000' --wait 30`")
def promote(
    condition: Annotated[
        str | None,
        typer.Option("--if", metavar="CONDITION", help="Only if the shadow's report fulfils it: `changed<=2%`."),
    ] = None,
    expect: Expected = None,
    wait: Waiting = None,
    as_json: AsJson = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Make the shadow the active snapshot. Then there is no shadow any more.

    With `--if` it compares the upper end of a share's 95 % interval, so that too few data fulfil no condition.
    """
    settings = prepare_command("catalog", config)
    from framematch.matching.shadow.condition import parse_condition

    wanted = None if condition is None else parse_condition(condition)
    asyncio.run(_promote(settings, wanted, _Options(expect, wait, as_json=as_json)))


async def _activate(settings: Settings, reference: str, options: _Options) -> None:
    from framematch.catalog.snapshots.listing import find_snapshot
    from framematch.catalog.snapshots.names import repair_names
    from framematch.catalog.snapshots.store import load_manifest

    async with open_database(settings) as database:
        snapshot_id = await find_snapshot(database, reference)
        await load_manifest(database, snapshot_id)
        await repair_names(database)
        await _change_in(database, settings, lambda names: names.with_active(snapshot_id), options)


async def _promote(settings: Settings, condition: "Condition | None", options: _Options) -> None:
    async def check(database: "Database", wanted: "NamesChange") -> None:
        from framematch.matching.shadow.store import read_report

        names = wanted.before
        if condition is None or names.active is None or names.shadow is None:
            return
        if unmet := condition.unmet(await read_report(database, names.active, names.shadow)):
            raise CatalogError(
                f"snapshot {names.shadow} is not promoted: {'; '.join(unmet)}",
                hint="See 'framematch catalog shadow report'",
            )

    await _change(settings, lambda names: names.promoted(), options, check)


async def _change(
    settings: Settings,
    change: "Callable[[SnapshotNames], SnapshotNames]",
    options: _Options,
    check: "Callable[[Database, NamesChange], Awaitable[None]] | None" = None,
) -> None:
    async with open_database(settings) as database:
        own_check = None if check is None else partial(check, database)
        await _change_in(database, settings, change, options, own_check)


async def _change_in(
    database: "Database",
    settings: Settings,
    change: "Callable[[SnapshotNames], SnapshotNames]",
    options: _Options,
    check: "Callable[[NamesChange], Awaitable[None]] | None" = None,
) -> None:
    """Change the names and print what was changed; then wait."""
    from framematch.catalog.operations.checked_names import change_names_checked

    changed = await change_names_checked(
        settings, database, change, expect=options.expect, check=check, on_warning=warn
    )
    print_change(changed, _in_words(changed), as_json=options.as_json)
    if options.wait_s is None:
        return
    processes = await wait_until_served(database, changed.after, options.wait_s)
    if not options.as_json:
        print_text(served_by_all(processes))


def print_change(changed: "NamesChange", words: str, *, as_json: bool) -> None:
    """Print what was changed: in words, or as one JSON object."""
    if as_json:
        new_console(soft_wrap=True).out_json(msgspec.json.encode(changed))
    else:
        print_text(words)


def _in_words(changed: "NamesChange") -> str:
    before, after = changed.before, changed.after
    if before.active == after.active:
        return f"Snapshot {after.active} is active already"
    words = f"Snapshot {after.active} is active; before it was {before.active or 'none'}"
    return f"{words}. It is no shadow any more" if before.shadow == after.active else words
