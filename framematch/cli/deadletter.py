"""`framematch deadletter`: lists, shows and replays records that no consumer could process."""

from pathlib import Path
from typing import Annotated

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.core.errors import UsageError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List, show and replay records that no consumer could process.",
)

Names = list[str] | None
POSITION = typer.Argument(metavar="POSITION", help="OFFSET, or PARTITION:OFFSET, as `list` shows it.")
REASON = typer.Option(metavar="NAME", help="Only dead letters with this reason; repeat it for several.")
STAGE = typer.Option(metavar="NAME", help="Only dead letters of this stage.")
CAMERA = typer.Option(metavar="ID", help="Only dead letters of this camera.")


@app.command(name="list", epilog="Example: `framematch deadletter list --reason truncated --limit 20`")
def list_dead_letters(
    *,
    reason: Annotated[Names, REASON] = None,
    stage: Annotated[Names, STAGE] = None,
    camera: Annotated[Names, CAMERA] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest.", show_default="all")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """List dead letters, the oldest first, with time, camera, reason and the position of the record."""
    from framematch.cli.deadletter_run import DeadLetterFilter, print_list

    kafka = prepare_command("deadletter", config).kafka
    print_list(kafka, DeadLetterFilter(reason, stage, camera), limit, as_json=as_json)


@app.command(epilog="Example: `framematch deadletter show 0:17 --save frame.jpg`")
def show(
    position: Annotated[str, POSITION],
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the record's bytes there.")
    ] = None,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Show everything about one dead letter, and optionally save its bytes."""
    from framematch.cli.deadletter_run import print_one

    print_one(prepare_command("deadletter", config).kafka, position, save)


@app.command(epilog="Example: `framematch deadletter replay --reason truncated --dry-run`")
def replay(
    *,
    position: Annotated[str | None, POSITION] = None,
    everything: Annotated[bool, typer.Option("--all", help="Send all dead letters.")] = False,
    reason: Annotated[Names, REASON] = None,
    stage: Annotated[Names, STAGE] = None,
    camera: Annotated[Names, CAMERA] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Send dead letters to the frames topic again: one, those that filters select, or all.

    A record is sent unchanged: bytes, key, headers and timestamp. So its frame has the same id, and a record that was
    matched before, or is replayed twice, gives events with the same ids, or none if that was a moment ago. Dead
    letters are not deleted; a record that fails again makes a new one. Consumers with `consumer.max_age_s` skip older
    frames.
    """
    from framematch.cli.deadletter_run import DeadLetterFilter, replay_records

    kafka = prepare_command("deadletter", config).kafka
    if sum((position is not None, everything, bool(reason or stage or camera))) != 1:
        raise UsageError(
            "it is not clear which dead letters to send", hint="Give a position, or filters such as --reason, or --all"
        )
    wanted = DeadLetterFilter(reason, stage, camera)
    replay_records(kafka, position or wanted, dry_run=dry_run, confirmed=yes)
