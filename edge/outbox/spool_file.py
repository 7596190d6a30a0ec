"""The SQLite file of a spool: its table, a frame as a row, and what its errors mean."""

import sqlite3
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec

from framematch.core.frames import Clock, Frame, Region
from framematch.core.private_files import create_private, make_private_folder

PAGE_BYTES = 16_384
"""Of new files: a frame is read in few pieces, and a small one does not waste a page."""
_WAL_BYTES = 8_000_000
_REASONS = {
    sqlite3.SQLITE_CORRUPT: "spool_damaged",
    sqlite3.SQLITE_NOTADB: "spool_damaged",
    sqlite3.SQLITE_BUSY: "spool_locked",
    sqlite3.SQLITE_LOCKED: "spool_locked",
}
_PRIMARY_CODE = 0xFF
_CLOCKS = frozenset(get_args(Clock))
_regions = msgspec.json.Decoder(tuple[Region, ...])

_TABLE = """
CREATE TABLE IF NOT EXISTS frames (
  n INTEGER PRIMARY KEY, kept_at_us INTEGER, size INTEGER, camera TEXT, captured_at_us INTEGER, sequence INTEGER,
  regions TEXT, traceparent TEXT, grabbed_at_us INTEGER, clock TEXT, jpeg BLOB
)
"""
_OPENING = (
    f"PRAGMA page_size={PAGE_BYTES}",
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA journal_mode=WAL",
    # What was committed survives the death of the process; a power failure may cost the last moments.
    "PRAGMA synchronous=NORMAL",
    # Some builds of SQLite overwrite what they delete, and for that write every JPEG to the log: 20 times slower. The
    # file itself is removed without overwriting too.
    "PRAGMA secure_delete=FAST",
    f"PRAGMA journal_size_limit={_WAL_BYTES}",
    "BEGIN IMMEDIATE",  # takes the lock
    _TABLE,
    "COMMIT",
)
INSERT = "INSERT OR REPLACE INTO frames VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SUM_RANGE = "SELECT coalesce(sum(size), 0) FROM frames WHERE n BETWEEN ? AND ?"
DELETE_RANGE = "DELETE FROM frames WHERE n BETWEEN ? AND ?"


class SpoolError(Exception):
    """The file cannot be used now. `reason` is a metric label: `spool_failed`, `spool_locked` or `spool_damaged`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class SpooledFrame(NamedTuple):
    """A frame under its order number."""

    number: int
    frame: Frame
    jpeg: bytes


def open_database(path: Path) -> tuple[sqlite3.Connection, int, int]:
    """Open or create the file and lock it until it is closed. Also returns its highest number and its frames' bytes.

    Raises:
        OSError: its folder cannot be created.
        sqlite3.Error: it cannot be opened; see `explain`.
    """
    make_private_folder(path.parent)  # pictures of people
    create_private(path)  # SQLite gives its other files the same rights
    # One thread at a time uses it, not the event loop's. Without a timeout: a lock is kept until its process ends.
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        for statement in _OPENING:
            db.execute(statement)
        highest, size = db.execute("SELECT coalesce(max(n), 0), coalesce(sum(size), 0) FROM frames").fetchone()
    except BaseException:
        db.close()
        raise
    return db, highest, size


def wal_of(path: Path) -> Path:
    """The file's write-ahead log."""
    return path.with_name(path.name + "-wal")


def to_row(number: int, spooled: SpooledFrame, at_us: int) -> tuple[object, ...]:
    """The values of `INSERT` for a frame stored at `at_us` under the row number `number`."""
    frame = spooled.frame
    regions = msgspec.json.encode(frame.regions).decode()
    described = (frame.camera, frame.captured_at_us, frame.sequence, regions, frame.traceparent)
    return (number, at_us, len(spooled.jpeg), *described, frame.grabbed_at_us, frame.clock, spooled.jpeg)


def from_row(row: tuple[Any, ...]) -> tuple[Frame, bytes]:
    """The frame, marked as replayed, and its JPEG.

    Raises:
        ValueError: the row is malformed.
    """
    _, _, _, camera, captured_at_us, sequence, regions, traceparent, grabbed_at_us, clock, jpeg = row
    try:
        boxes = _regions.decode(regions)
    except (msgspec.DecodeError, TypeError) as error:
        raise ValueError(str(error)) from error
    if clock not in _CLOCKS:
        raise ValueError(f"unknown clock {clock!r}")
    return Frame(camera, captured_at_us, sequence, boxes, traceparent, grabbed_at_us, clock, replayed=True), jpeg


def explain(error: OSError | sqlite3.DatabaseError, path: Path) -> SpoolError | None:
    """What an error of the operating system or SQLite means; None for a mistake in our use of SQLite."""
    if isinstance(error, OSError):
        return SpoolError("spool_failed", str(error))
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    reason = _REASONS.get(code & _PRIMARY_CODE, "spool_failed")
    locked = f"another process uses {path}"
    return SpoolError(reason, locked if reason == "spool_locked" else f"{error.sqlite_errorname}: {error}")
