"""Reads dead letters from their topic, prints them, and sends their records again."""

import asyncio
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import typer

from framematch.cli.common import progress_bar
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
Names = list[str] | None


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


def print_list(kafka: KafkaSettings, wanted: DeadLetterFilter, limit: int | None, *, as_json: bool) -> None:
    """Print the newest `limit` of these dead letters, the oldest first."""
    dead_letters = asyncio.run(_select(kafka, wanted))[-(limit or 0) :]
    console = new_console()
    if as_json:
        for dead_letter in dead_letters:
            console.out_json(json_line(dead_letter))
    else:
        console.print(table(dead_letters) if dead_letters else "No dead letters.")


def print_one(kafka: KafkaSettings, position: str, save: Path | None) -> None:
    """Print a dead letter, and write its bytes to `save`."""
    found, console = asyncio.run(_read_one(kafka, position)), new_console()
    console.print(full(found))
    if save is not None:
        _require_bytes(found)
        write_private(save, found.value or b"")
        console.print(f"\n{counted(found.size_bytes, 'byte')} saved in {save}", soft_wrap=True)


def replay_records(kafka: KafkaSettings, chosen: str | DeadLetterFilter, *, dry_run: bool, confirmed: bool) -> None:
    """Send the records of the dead letter at a position, or of those that a filter selects, after a confirmation."""
    if isinstance(chosen, str):
        selected = [asyncio.run(_read_one(kafka, chosen))]
        _require_bytes(selected[0])
    else:
        selected = asyncio.run(_select(kafka, chosen))
    whole, console, topic = [one for one in selected if one.whole], new_console(), Topics(kafka.topic_prefix).frames
    if omitted := len(selected) - len(whole):
        console.print(f"{counted(omitted, 'dead letter')} cannot be sent: the record's bytes were not kept")
    if dry_run or not whole:
        console.print(table(whole) if whole else "No dead letters to send.")
        return
    if not confirmed:
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
    """Raise DeadLetterError when the record's bytes were not kept."""
    failure = dead_letter.failure
    if not dead_letter.whole:
        raise DeadLetterError(
            f"the record's bytes were not kept: {dead_letter.size_bytes} are too many for the dead-letter topic",
            hint=f"It may still be in {failure.topic}, partition {failure.partition}, offset {failure.offset}",
        )
