"""`framematch deadletter`: the records that no consumer could use: list them, look at one, send them again."""

import asyncio
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from framematch.cli.common import CONFIG_OPTION, prepare_command, progress_bar
from framematch.cli.deadletter_table import full, json_line, table
from framematch.cli.text import counted
from framematch.core.deadletter_topic import open_letters
from framematch.core.deadletters import Letter, Position
from framematch.core.errors import DeadLetterError, UsageError
from framematch.core.kafka.clients import kafka_errors, new_producer, started
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings

_WIDTH_WITHOUT_TERMINAL = 200
_POSITION = re.compile(r"(?:(?P<partition>\d{1,9}):)?(?P<offset>\d{1,18})")

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Records that no consumer could use: list them, look at one, send them again.",
)

Names = list[str] | None
LETTER = typer.Argument(metavar="LETTER", help="Its offset, or PARTITION:OFFSET, as `list` shows it.")
REASON = typer.Option(metavar="NAME", help="Letters with this reason alone; give it several times for several.")
STAGE = typer.Option(metavar="NAME", help="Letters of this stage alone.")
CAMERA = typer.Option(metavar="ID", help="Letters of this camera alone.")


@dataclass(frozen=True)
class LetterFilter:
    """Which letters are meant; what is empty means all."""

    reasons: Collection[str]
    stages: Collection[str]
    cameras: Collection[str]

    def fits(self, letter: Letter) -> bool:
        """Whether this one is."""
        failure = letter.failure
        given = ((self.reasons, failure.reason), (self.stages, failure.stage), (self.cameras, letter.camera))
        return all(not names or name in names for names, name in given)


@app.callback()
def _group() -> None:
    """List dead letters, look at one, and send them to the consumers again."""


@app.command(name="list", epilog="Example: `framematch deadletter list --reason truncated --limit 20`")
def list_letters(
    *,
    reason: Annotated[Names, REASON] = None,
    stage: Annotated[Names, STAGE] = None,
    camera: Annotated[Names, CAMERA] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The newest alone.", show_default="all")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """List the dead letters that there are, the oldest first: when, which camera, why, and which record it was."""
    kafka = prepare_command("deadletter", config).kafka
    letters = asyncio.run(_chosen(kafka, LetterFilter(reason or (), stage or (), camera or ())))[-(limit or 0) :]
    out = _out()
    if as_json:
        for letter in letters:
            out.out(json_line(letter))
    else:
        out.print(table(letters) if letters else "No dead letters.")


@app.command(epilog="Example: `framematch deadletter show 0:17 --save frame.jpg`")
def show(
    letter: Annotated[str, LETTER],
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the record's bytes there.")
    ] = None,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Show all that is known of one dead letter, and save its bytes if you like."""
    kafka = prepare_command("deadletter", config).kafka
    found, out = asyncio.run(_one(kafka, letter)), _out()
    out.print(full(found))
    if save is not None:
        _refuse_without_bytes(found)
        save.write_bytes(found.value or b"")
        out.print(f"\n{counted(found.size_bytes, 'byte')} saved in {save}", soft_wrap=True, markup=False)


@app.command(epilog="Example: `framematch deadletter replay --reason truncated --dry-run`")
def replay(
    *,
    letter: Annotated[str | None, LETTER] = None,
    everything: Annotated[bool, typer.Option("--all", help="Send all dead letters that there are.")] = False,
    reason: Annotated[Names, REASON] = None,
    stage: Annotated[Names, STAGE] = None,
    camera: Annotated[Names, CAMERA] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Send dead letters to the topic of frames again: one, those that filters choose, or all.

    A record goes as it came: bytes, key, headers and timestamp. So its frame has the same id, and what was answered
    before, or is replayed twice, gives events with the same ids. Letters stay where they are; a record that fails again
    makes a new one. Consumers with `consumer.max_age_s` skip frames that are older.
    """
    kafka = prepare_command("deadletter", config).kafka
    if sum((letter is not None, everything, bool(reason or stage or camera))) != 1:
        raise UsageError(
            "it is not clear which dead letters to send", hint="Give a letter, or filters such as --reason, or --all"
        )
    if letter is None:
        letters = asyncio.run(_chosen(kafka, LetterFilter(reason or (), stage or (), camera or ())))
    else:
        letters = [asyncio.run(_one(kafka, letter))]
        _refuse_without_bytes(letters[0])
    whole, out, topic = [letter for letter in letters if letter.whole], _out(), Topics(kafka.topic_prefix).frames
    if len(whole) < len(letters):
        out.print(f"{counted(len(letters) - len(whole), 'letter')} cannot be sent: the record's bytes were not kept")
    if dry_run or not whole:
        out.print(table(whole) if whole else "No dead letters to send.")
        return
    if not yes:
        typer.confirm(f"Send {counted(len(whole), 'record')} to {topic}?", abort=True)
    sent = asyncio.run(_send(kafka, [letter.position for letter in whole]))
    out.print(f"{counted(sent, 'record')} sent to {topic}; their frames keep their ids")


async def _chosen(kafka: KafkaSettings, wanted: LetterFilter) -> list[Letter]:
    """The letters that are wanted, the oldest first, without their values."""
    async with open_letters(kafka) as topic:
        with progress_bar("Reading", "letters") as show_progress:
            letters = topic.letters(on_progress=show_progress)
            return sorted([one.without_value() async for one in letters if wanted.fits(one)], key=lambda one: one.at_ms)


async def _one(kafka: KafkaSettings, given: str) -> Letter:
    """The letter at `OFFSET` or `PARTITION:OFFSET`.

    Raises:
        UsageError: it is neither, or the offset alone does not say which partition.
        DeadLetterError: there is no such letter.
    """
    found = _POSITION.fullmatch(given)
    if found is None:
        raise UsageError(f"{given!r} is no place of a dead letter", hint="Give it as 'deadletter list' shows it: 0:17")
    async with open_letters(kafka) as topic:
        if found["partition"] is None and topic.partitions > 1:
            raise UsageError(f"the topic has {topic.partitions} partitions", hint=f"Say which one: 0:{found['offset']}")
        return await topic.letter((int(found["partition"] or 0), int(found["offset"])))


async def _send(kafka: KafkaSettings, positions: Collection[Position]) -> int:
    """Send the records of these letters in order, one after the other; how many were sent."""
    sent = 0
    async with open_letters(kafka) as topic, started(new_producer(kafka), kafka) as producer:
        with progress_bar("Sending", "records") as show_progress, kafka_errors(kafka):
            async for letter in topic.letters(among=frozenset(positions)):
                await producer.send_and_wait(
                    Topics(kafka.topic_prefix).frames,
                    letter.value,
                    key=letter.key,
                    headers=list(letter.headers),
                    timestamp_ms=letter.failure.timestamp_ms,
                )
                sent += 1
                show_progress(sent, len(positions))
    return sent


def _refuse_without_bytes(letter: Letter) -> None:
    failure = letter.failure
    if not letter.whole:
        raise DeadLetterError(
            f"the record's bytes were not kept: {letter.size_bytes} are more than fit the topic of dead letters",
            hint=f"It may still be in {failure.topic}, partition {failure.partition}, offset {failure.offset}",
        )


def _out() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)
