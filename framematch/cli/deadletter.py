"""`framematch deadletter`: lists, shows and replays records that no consumer could process."""

import asyncio
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command, progress_bar
from framematch.cli.console import new_console
from framematch.cli.deadletter_table import full, json_line, table
from framematch.cli.text import counted
from framematch.core.deadletter_topic import open_dead_letters
from framematch.core.deadletters import DeadLetter, Position
from framematch.core.errors import DeadLetterError, UsageError
from framematch.core.kafka.clients import kafka_errors, new_producer, started
from framematch.core.kafka.topics import Topics
from framematch.core.private_files import write_private
from framematch.core.settings import KafkaSettings

_POSITION = re.compile(r"(?:(?P<partition>\d{1,9}):)?(?P<offset>\d{1,18})")

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


@dataclass(frozen=True)
class DeadLetterFilter:
    """Selects dead letters; an empty field selects all."""

    reasons: Names
    stages: Names
    cameras: Names

    def fits(self, dead_letter: DeadLetter) -> bool:
        """Whether `dead_letter` is selected."""
        failure = dead_letter.failure
        given = ((self.reasons, failure.reason), (self.stages, failure.stage), (self.cameras, dead_letter.camera))
        return all(not names or name in names for names, name in given)


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
    kafka = prepare_command("deadletter", config).kafka
    wanted = DeadLetterFilter(reason, stage, camera)
    dead_letters = asyncio.run(_select(kafka, wanted))[-(limit or 0) :]
    console = new_console()
    if as_json:
        for dead_letter in dead_letters:
            console.out_json(json_line(dead_letter))
    else:
        console.print(table(dead_letters) if dead_letters else "No dead letters.")


@app.command(epilog="Example: `framematch deadletter show 0:17 --save frame.jpg`")
def show(
    position: Annotated[str, POSITION],
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the record's bytes there.")
    ] = None,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Show everything about one dead letter, and optionally save its bytes."""
    kafka = prepare_command("deadletter", config).kafka
    found, console = asyncio.run(_read_one(kafka, position)), new_console()
    console.print(full(found))
    if save is not None:
        _require_bytes(found)
        write_private(save, found.value or b"")
        console.print(f"\n{counted(found.size_bytes, 'byte')} saved in {save}", soft_wrap=True)


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
    kafka = prepare_command("deadletter", config).kafka
    if sum((position is not None, everything, bool(reason or stage or camera))) != 1:
        raise UsageError(
            "it is not clear which dead letters to send", hint="Give a position, or filters such as --reason, or --all"
        )
    if position is None:
        selected = asyncio.run(_select(kafka, DeadLetterFilter(reason, stage, camera)))
    else:
        selected = [asyncio.run(_read_one(kafka, position))]
        _require_bytes(selected[0])
    whole, console, topic = [one for one in selected if one.whole], new_console(), Topics(kafka.topic_prefix).frames
    if omitted := len(selected) - len(whole):
        console.print(f"{counted(omitted, 'dead letter')} cannot be sent: the record's bytes were not kept")
    if dry_run or not whole:
        console.print(table(whole) if whole else "No dead letters to send.")
        return
    if not yes:
        typer.confirm(f"Send {counted(len(whole), 'record')} to {topic}?", abort=True)
    sent = asyncio.run(_send(kafka, [one.position for one in whole]))
    console.print(f"{counted(sent, 'record')} sent to {topic}; their frames keep their ids")


async def _select(kafka: KafkaSettings, wanted: DeadLetterFilter) -> list[DeadLetter]:
    """The selected dead letters, the oldest first, without their values."""
    async with open_dead_letters(kafka) as topic:
        with progress_bar("Reading", "dead letters") as show_progress:
            found = topic.read(on_progress=show_progress)
            return sorted([one.without_value() async for one in found if wanted.fits(one)], key=lambda one: one.at_ms)


async def _read_one(kafka: KafkaSettings, given: str) -> DeadLetter:
    """The dead letter at `OFFSET` or `PARTITION:OFFSET`; an error if `given` is neither, ambiguous or not there."""
    found = _POSITION.fullmatch(given)
    if found is None:
        raise UsageError(
            f"{given!r} is no position of a dead letter", hint="Give it as 'deadletter list' shows it: 0:17"
        )
    async with open_dead_letters(kafka) as topic:
        if found["partition"] is None and topic.partitions > 1:
            raise UsageError(
                f"the topic has {topic.partitions} partitions", hint=f"Give the partition too: 0:{found['offset']}"
            )
        return await topic.read_one((int(found["partition"] or 0), int(found["offset"])))


async def _send(kafka: KafkaSettings, positions: Collection[Position]) -> int:
    """Send the records of these dead letters in order, one by one; returns how many were sent."""
    sent = 0
    async with open_dead_letters(kafka) as topic, started(new_producer(kafka), kafka) as producer:
        with progress_bar("Sending", "records") as show_progress, kafka_errors(kafka):
            async for dead_letter in topic.read(among=frozenset(positions)):
                record = dead_letter.original(Topics(kafka.topic_prefix).frames)
                own = dead_letter.failure.partition  # where the camera's other frames are, whoever chose it
                await producer.send_and_wait(
                    record.topic,
                    record.value,
                    key=record.key,
                    headers=list(record.headers),
                    partition=own if own in await producer.partitions_for(record.topic) else None,
                    timestamp_ms=record.timestamp_ms,
                )
                sent += 1
                show_progress(sent, len(positions))
    return sent


def _require_bytes(dead_letter: DeadLetter) -> None:
    failure = dead_letter.failure
    if not dead_letter.whole:
        raise DeadLetterError(
            f"the record's bytes were not kept: {dead_letter.size_bytes} are too many for the dead-letter topic",
            hint=f"It may still be in {failure.topic}, partition {failure.partition}, offset {failure.offset}",
        )
