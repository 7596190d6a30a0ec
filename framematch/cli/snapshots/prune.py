"""`framematch catalog prune`: deletes snapshots that no name points to."""

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import new_console, print_text
from framematch.cli.database import open_database
from framematch.cli.text import counted
from framematch.core.paths import state_dir
from framematch.core.settings import Settings

if TYPE_CHECKING:
    from framematch.catalog.operations.prune import Pruned

app = typer.Typer()


@app.command(epilog="Example: `framematch catalog prune --keep 5 --dry-run`")
def prune(
    keep: Annotated[int, typer.Option(min=0, help="Keep this number of the newest without a name.")] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing: show which would go.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Delete snapshots that are neither active, previous nor the shadow, and what only they needed.

    That is: their files, kept embeddings that no build needs any more, and changes of products that all remaining
    snapshots contain. It deletes nothing of a build that runs.
    """
    pruned = asyncio.run(_prune(prepare_command("catalog", config), keep, dry_run=dry_run))
    if as_json:
        new_console(soft_wrap=True).out_json(msgspec.json.encode({"dry_run": dry_run, **msgspec.to_builtins(pruned)}))
        return
    for snapshot_id in pruned.snapshots:
        print_text(f"{'Would delete' if dry_run else 'Deleted'} {snapshot_id}")
    if not pruned.snapshots:
        print_text("No snapshot is to be deleted")
    if pruned.embeddings or pruned.delta_entries:
        changes = counted(pruned.delta_entries, "change")
        print_text(f"Deleted {counted(pruned.embeddings, 'kept embedding')} and {changes} of products")


async def _prune(settings: Settings, keep: int, *, dry_run: bool) -> "Pruned":
    from framematch.catalog.operations.prune import Pruned, prune_snapshots, snapshots_to_prune
    from framematch.catalog.snapshots.storage import open_storage

    async with open_database(settings) as database:
        if dry_run:
            return Pruned(await snapshots_to_prune(database, keep=keep), 0, 0)
        pruned = await prune_snapshots(database, open_storage(settings.snapshots.url, database), keep=keep)
    for snapshot_id in pruned.snapshots:  # a process that still has files of it mapped keeps them
        shutil.rmtree(state_dir() / "snapshots" / snapshot_id, ignore_errors=True)
    return pruned
