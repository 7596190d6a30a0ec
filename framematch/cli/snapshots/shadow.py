"""`framematch catalog shadow`: lets a snapshot decide beside the active one."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import warn
from framematch.cli.database import open_database
from framematch.cli.errors import Commands
from framematch.cli.snapshots import shadow_report
from framematch.cli.snapshots.changes import AsJson, print_change
from framematch.core.settings import Settings

if TYPE_CHECKING:
    from framematch.catalog.operations.activation import NamesChange

MIN_SAMPLE = 0.001


class ShadowCommands(Commands):
    """The group `shadow`: `shadow ID` is short for `shadow set ID`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # Any: Typer has no public type for it
        """Parse the group's own options, or take everything as arguments of `set`."""
        if args and args[0] != "--help" and args[0] not in self.commands:
            args = ["set", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Let a snapshot decide beside the active one: `shadow ID` is short for `shadow set ID`.",
)

app.add_typer(shadow_report.app)


@app.command(name="set", epilog="Example: `framematch catalog shadow set 20260131T120000Z-1a2b3c4d --sample 0.1`")
def set_shadow(
    snapshot: Annotated[str, typer.Argument(metavar="ID", help="Id, the unique start of one, or `previous`.")],
    sample: Annotated[
        float, typer.Option(min=MIN_SAMPLE, max=1, help="The share of frames that the shadow decides too.")
    ] = 1.0,
    as_json: AsJson = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Let a snapshot decide frames that the active one decides, and publish nothing.

    It may be of another model, which Triton has to serve too. Where a consumer cannot keep up, the shadow is left out.
    `shadow report` compares the decisions.
    """
    change = asyncio.run(_change(prepare_command("catalog", config), snapshot, sample))
    frames = "all frames" if sample == 1 else f"{sample:.4g} of the frames"
    words = f"Snapshot {change.after.shadow} decides beside {change.after.active} on {frames}"
    print_change(change, words, as_json=as_json)


@app.command(epilog="Example: `framematch catalog shadow off`")
def off(as_json: AsJson = False, config: Path | None = CONFIG_OPTION) -> None:
    """End the shadow; the snapshot stays."""
    change = asyncio.run(_change(prepare_command("catalog", config), None, 1.0))
    shadow = change.before.shadow
    words = f"Snapshot {shadow} is the shadow no more" if shadow else "There was no shadow"
    print_change(change, words, as_json=as_json)


async def _change(settings: Settings, reference: str | None, sample: float) -> "NamesChange":
    from framematch.catalog.operations.checked_names import change_names_checked
    from framematch.catalog.snapshots.listing import find_snapshot

    async with open_database(settings) as database:
        snapshot_id = None if reference is None else await find_snapshot(database, reference)
        return await change_names_checked(
            settings, database, lambda names: names.with_shadow(snapshot_id, sample), on_warning=warn
        )
