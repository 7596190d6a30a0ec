"""The SQLite file of a spool: its table, a frame as a row of it, and what its errors mean."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from framematch.core.frames import Clock, Frame, Region

_WAL_BYTES = 8_000_000
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_PRIMARY_CODE = 0xFF

_TABLE = """
CREATE TABLE IF NOT EXISTS frames (
  n INTEGER PRIMARY KEY, kept_at_us INTEGER, size INTEGER, camera TEXT, captured_at_us INTEGER, sequence INTEGER,
  regions TEXT, traceparent TEXT, grabbed_at_us INTEGER, clock TEXT, jpeg BLOB
)
"""
_OPENING = (
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA journal_mode=WAL",
    # What was committed survives the death of the process; the last moments may be lost when the power goes.
    "PRAGMA synchronous=NORMAL",
    f"PRAGMA journal_size_limit={_WAL_BYTES}",
    "BEGIN IMMEDIATE",  # takes the lock
    _TABLE,
    "COMMIT",
)
INSERT = "INSERT OR REPLACE INTO frames VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class SpoolError(Exception):
    """The file cannot be used now. `reason` is a label: `spool_failed`, `spool_locked` or `spool_damaged`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Kept:
    """A frame under its order number."""

    number: int
    frame: Frame
    jpeg: bytes


def open_database(path: Path) -> tuple[sqlite3.Connection, int, int]:
    """Open or make the file, with its lock held until it is closed. Also its highest number and the size of all frames.

    Raises:
        OSError: its folder cannot be made.
        sqlite3.Error: it cannot be opened; see `explain`.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # pictures of people
    # Off the event loop, in one thread at a time; `timeout`: who holds the lock does so for its life.
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        for statement in _OPENING:
            db.execute(statement)
        highest, size = db.execute("SELECT coalesce(max(n), 0), coalesce(sum(size), 0) FROM frames").fetchone()
    except BaseException:
        db.close()
        raise
    return db, highest, size


def log_beside(path: Path) -> Path:
    """SQLite's write-ahead log of the file."""
    return path.with_name(path.name + "-wal")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of the block, or nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # some errors have rolled back already
            db.execute("ROLLBACK")
        raise


def to_row(number: int, kept: Kept, at_us: int) -> tuple[object, ...]:
    """The values of `INSERT` for a frame that is kept from `at_us` on, under the number of its row."""
    frame = kept.frame
    regions = msgspec.json.encode(frame.regions).decode()
    described = (frame.camera, frame.captured_at_us, frame.sequence, regions, frame.traceparent)
    return (number, at_us, len(kept.jpeg), *described, frame.grabbed_at_us, frame.clock, kept.jpeg)


def from_row(row: tuple[Any, ...]) -> tuple[Frame, bytes]:
    """The frame and its JPEG.

    Raises:
        ValueError: the row cannot be understood.
    """
    _, _, _, camera, captured_at_us, sequence, regions, traceparent, grabbed_at_us, clock, jpeg = row
    try:
        frame = Frame(
            camera=camera,
            captured_at_us=captured_at_us,
            sequence=sequence,
            regions=tuple(msgspec.json.decode(regions, type=list[Region])),
            traceparent=traceparent,
            grabbed_at_us=grabbed_at_us,
            clock=msgspec.convert(clock, Clock),
        )
    except (msgspec.DecodeError, msgspec.ValidationError, TypeError) as error:
        raise ValueError(str(error)) from error
    return frame, jpeg


def explain(error: OSError | sqlite3.DatabaseError, path: Path) -> SpoolError | None:
    """What an error of the operating system or of SQLite means; None when it is a mistake in our use of SQLite."""
    if isinstance(error, OSError):
        return SpoolError("spool_failed", str(error))
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    text = f"{error.sqlite_errorname}: {error}"
    if code & _PRIMARY_CODE in _DAMAGED:
        return SpoolError("spool_damaged", text)
    if code & _PRIMARY_CODE in _LOCKED:
        return SpoolError("spool_locked", f"another process uses {path}")
    return SpoolError("spool_failed", text)
