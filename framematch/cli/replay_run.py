"""Runs a replay, writes what differs, and prints it with a summary."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from consumers.replay.pairing import Found, Pair
from consumers.replay.replay import Reading
from consumers.replay.session import ReplaySession, open_replay
from consumers.replay.summary import Summary
from consumers.replay.time_range import TimeRange
from framematch.catalog.snapshots.listing import find_snapshot
from framematch.cli.common import progress_bar
from framematch.cli.console import new_console
from framematch.cli.database import open_database
from framematch.cli.replay_table import difference_line, difference_table, summary_line, summary_lines
from framematch.core.errors import FramematchError, ReplayError, UsageError
from framematch.core.kafka.clients import client_options
from framematch.core.kafka.consumer import UnreadableRecords
from framematch.core.lifecycle import first_of, run_service
from framematch.core.paths import state_dir
from framematch.core.private_files import FILE_MODE, create_private
from framematch.core.settings import Settings
from framematch.core.timestamps import to_rfc3339
from framematch.matching.serving.opener import open_served

_SHUTDOWN_S = 15.0


@dataclass(frozen=True)
class ReplayOptions:
    """The arguments of the command."""

    snapshot: str
    wanted: TimeRange
    camera: str | None
    output: Path | None
    limit: int
    as_json: bool


@dataclass
class Results:
    """What was found: in numbers, and the first differences in full."""

    summary: Summary = field(default_factory=Summary)
    first: list[Found] = field(default_factory=list)
    differences: int = 0
    snapshot: str = ""
    reading: Reading = field(default_factory=Reading)
    unreadable: list[UnreadableRecords] = field(default_factory=list)


def run_replay(settings: Settings, options: ReplayOptions) -> None:
    """Replay until the end, or Ctrl-C; print what was found, also when a server fails meanwhile.

    Raises:
        ReplayError: frames of the range are gone or cannot be read, or there are none.
        FramematchError: a server is unavailable, or the snapshot cannot be used.
    """
    client_options(settings.kafka)  # a missing address is reported at once, not after a wait for another server
    results, failures = Results(), list[FramematchError]()

    async def main(stop: asyncio.Event) -> None:
        with _output(options.output) as file:
            try:
                await first_of(stop.wait(), _replay(settings, options, results, file))
            except FramematchError as error:
                failures.append(error)
            if file is not None and results.snapshot:
                file.write(summary_line(results.summary, results.reading).encode() + b"\n")

    run_service(main, shutdown_deadline_s=_SHUTDOWN_S)
    if results.reading.frames:
        _print(options, results)
    if failures:
        raise failures[0]
    _check(options, results)


async def _replay(settings: Settings, options: ReplayOptions, results: Results, file: BinaryIO | None) -> None:
    async with open_database(settings) as database:
        snapshot_id = await find_snapshot(database, options.snapshot)
        served = await open_served(database, snapshot_id, settings=settings, cache_dir=state_dir() / "snapshots")
    results.snapshot = snapshot_id
    if file is not None:
        _empty(file)
    async with served.encoder:
        with progress_bar("Replaying", "records") as on_progress:
            async with open_replay(
                settings, served, options.wanted, camera=options.camera, on_progress=on_progress
            ) as session:
                results.reading, results.unreadable = session.reading, session.unreadable
                await _collect(session, options, results, file)


async def _collect(session: ReplaySession, options: ReplayOptions, results: Results, file: BinaryIO | None) -> None:
    async with aclosing(session.run()) as replayed:
        async for found in replayed:
            results.summary.add(found)
            if isinstance(found, Pair) and not found.changed:
                continue
            results.differences += 1
            if len(results.first) < options.limit:
                results.first.append(found)
            if file is not None:
                file.write(difference_line(found).encode() + b"\n")
                file.flush()


@contextmanager
def _output(path: Path | None) -> Iterator[BinaryIO | None]:
    """The file for all differences; a path that cannot be written is found before the work."""
    if path is None:
        yield None
        return
    try:
        create_private(path)
        file = path.open("ab")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint="Check the path") from None
    with file:
        yield file


def _empty(file: BinaryIO) -> None:
    """Start anew, for the owner of the file alone: the answers of an earlier replay go only when this one starts."""
    os.fchmod(file.fileno(), FILE_MODE)
    file.truncate(0)


def _print(options: ReplayOptions, results: Results) -> None:
    console = new_console(soft_wrap=True)
    if options.as_json:
        for found in results.first:
            console.out_json(difference_line(found))
        console.out_json(summary_line(results.summary, results.reading))
        return
    if results.first:
        console.print(difference_table(results.first))
    if more := results.differences - len(results.first):
        where = f"all are in {options.output}" if options.output else "--output FILE writes all"
        console.print(f"… and {more} more differences: {where}")
    for line in summary_lines(options.wanted, results.snapshot, results.summary, results.reading):
        console.print(line)


def _check(options: ReplayOptions, results: Results) -> None:
    """Say what could not be read."""
    reading = results.reading
    gone = _gone(reading)
    if not reading.frames:
        if reading.finished:
            raise _no_frames(options, reading, gone)
        return
    unreadable = sum(found.stop - found.first for found in results.unreadable)
    problems = [gone] if gone else []
    if unreadable:
        problems.append(f"{unreadable} records cannot be decoded by any client")
    if problems:
        raise ReplayError("; ".join(problems), hint="All other frames of the range were replayed")


def _gone(reading: Reading) -> str:
    """Which frames Kafka has deleted, in words; empty when none."""
    if reading.gone_before_us:
        latest, numbers = max(reading.gone_before_us.values()), sorted(reading.gone_before_us)
        return f"frames before {to_rfc3339(latest)} are gone: Kafka has deleted them (partitions {_listed(numbers)})"
    if reading.deleted_partitions:
        numbers = sorted(reading.deleted_partitions)
        return f"Kafka has deleted frames while they were read (partitions {_listed(numbers)})"
    return ""


def _no_frames(options: ReplayOptions, reading: Reading, gone: str) -> ReplayError:
    if options.camera and reading.cameras:
        known = ", ".join(sorted(reading.cameras)[:10])
        return ReplayError(
            f"camera {options.camera!r} has no frames from {options.wanted}", hint=f"Cameras with frames: {known}"
        )
    what = f"there are no frames from {options.wanted}"
    hint = "Kafka keeps frames for kafka.frames_retention_minutes"
    return ReplayError(f"{what}: {gone}" if gone else what, hint=hint)


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
