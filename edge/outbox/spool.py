"""Stores one camera's frames on disk while Kafka does not take them: one SQLite file."""

import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

import structlog

from edge.outbox.spool_file import (
    DELETE_RANGE,
    INSERT,
    SUM_RANGE,
    SpooledFrame,
    SpoolError,
    explain,
    from_row,
    open_database,
    to_row,
    wal_of,
)
from framematch.core.timestamps import now_us
from framematch.core.units import US_PER_S

log = structlog.get_logger()


class Spool:
    """A queue of one camera's frames, ordered by number. Frames wait until they are leased, and stay until `ack`.

    Numbers are the caller's, above 0; frames of an earlier run of the edge have numbers up to 0. More than `max_bytes`
    or `max_age_s` discards the oldest waiting frames, never leased ones; `losses` has pairs of a reason and a count.
    Methods are for one thread, and raise SpoolError when the file cannot be used; attributes may be read from any.
    """

    def __init__(self, path: Path, *, max_bytes: int, max_age_s: float, clock_us: Callable[[], int] = now_us) -> None:
        self.path = path
        self.losses: deque[tuple[str, int]] = deque()
        self._max_bytes = max_bytes
        self._max_age_us = int(max_age_s * US_PER_S)
        self._clock_us = clock_us
        self._db: sqlite3.Connection | None = None
        self._base: int | None = None  # row number of the caller's 0
        self.generation = 1  # a new one starts when the file is set aside, with all its frames
        self._leased_through = 0  # row number
        self._to_delete: set[int] = set()  # row numbers; not empty after a call only when the disk is full
        self.waiting = 0  # frames that are not leased
        self.found = 0  # frames that were in the file each time it was opened, in all
        self.bytes = 0  # size of all frames, leased ones included
        self._oldest_us: int | None = None  # when the oldest waiting frame was stored

    @property
    def has_frames(self) -> bool:
        """Whether frames are in the file, or may be, as it is not open."""
        return self.path.exists() if self._db is None else self.bytes > 0

    def append(self, frames: Sequence[SpooledFrame], *, leased: bool = False) -> int:
        """Store all frames or none, and discard older ones for them. Returns the generation that has them.

        `leased`: they are in flight already.
        """
        try:
            return self._append(frames, leased=leased)
        except SpoolError as error:
            if error.reason != "spool_damaged":
                raise
            return self._append(frames, leased=leased)  # into a new file

    def lease(self, frames_max: int, bytes_max: int, acknowledged: Collection[int] = ()) -> list[SpooledFrame]:
        """Lease the oldest waiting frames, at least one if any waits, after `ack` of others."""
        if self._db is None and not self.path.exists():
            return []
        with self._guarded():
            self._delete(map(self._row_number, acknowledged))
            self._expire()
            found: list[SpooledFrame] = []
            through, seen, size = self._leased_through, 0, 0
            for row in self._rows():
                if found and (len(found) >= frames_max or size + row[2] > bytes_max):
                    self._oldest_us = row[1]
                    break
                through, seen, size = row[0], seen + 1, size + row[2]
                if frame := self._parse(row):
                    found.append(frame)
            else:
                self._oldest_us = None
            self._leased_through = through
            self.waiting -= seen
            return found

    def remove_if_empty(self) -> None:
        """Remove the file if no frame is in it."""
        if self._db is not None:
            with suppress(SpoolError), self._guarded():
                self._delete(())
                if not self._count_stored():
                    self._remove()

    def release(self, number: int) -> None:
        """Let leased frames from `number` on wait again."""
        with self._guarded():
            self._database()
            self._leased_through = self._row_number(number) - 1
            self._count_waiting()

    def ack(self, numbers: Collection[int]) -> None:
        """Delete frames that are settled; on a full disk they are remembered and deleted later."""
        if self._db is not None:
            with suppress(SpoolError), self._guarded():
                self._delete(map(self._row_number, numbers))

    def reopen(self) -> bool:
        """Try to open a file that is not open, and return whether frames wait in it."""
        if self._db is None and self.path.exists():
            with suppress(SpoolError), self._guarded():
                self._database()
        return self.waiting > 0

    def expire(self) -> None:
        """Discard frames that have waited for longer than `max_age_s`."""
        if self.waiting and self._db is not None:
            with suppress(SpoolError), self._guarded():
                self._expire()

    def discard(self) -> None:
        """Set a file that cannot be read aside, and count the waiting frames as lost."""
        if self.waiting:
            self._set_aside("it cannot be read")

    def close(self) -> int:
        """Close the file, and remove it if it is empty. Returns the number of frames that stay in it."""
        left = 0
        self.remove_if_empty()
        if self._db is not None:
            with suppress(SpoolError), self._guarded():
                left = self._count_stored()
        self._close()
        return left

    def _append(self, frames: Sequence[SpooledFrame], *, leased: bool) -> int:
        with self._guarded():
            db = self._database()
            self._expire()
            size = sum(len(frame.jpeg) for frame in frames)
            self._evict(size)
            if not leased and self.bytes + size > self._max_bytes:
                self.losses.append(("full", len(frames)))  # leased frames fill it
                return self.generation
            at_us = self._clock_us()
            with db:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(INSERT, [to_row(self._row_number(frame.number), frame, at_us) for frame in frames])
            self.bytes += size
            if leased:
                self._leased_through = max(self._leased_through, *(self._row_number(frame.number) for frame in frames))
            else:
                self.waiting += len(frames)
                self._oldest_us = self._oldest_us or at_us
            return self.generation

    def _evict(self, size: int) -> None:
        """Discard the oldest waiting frames until `size` more bytes fit."""
        excess = self.bytes + size - self._max_bytes
        evicted: list[int] = []
        if excess > 0:
            for number, row_size in self._rows("n, size"):
                if excess <= 0:
                    break
                evicted.append(number)
                excess -= row_size
        self._discard(evicted, "full")

    def _expire(self) -> None:
        self._database()
        before_us = self._clock_us() - self._max_age_us
        if self._oldest_us is None or self._oldest_us >= before_us:
            return
        expired = takewhile(lambda row: row[1] < before_us, self._rows("n, kept_at_us"))
        self._discard([number for number, _ in expired], "age")

    def _discard(self, rows: Collection[int], reason: str) -> None:
        if rows:
            self.waiting -= len(rows)
            self.losses.append((reason, len(rows)))
            self._to_delete.update(rows)
            self._find_oldest()
            self._delete(())

    def _delete(self, rows: Iterable[int]) -> None:
        """Delete rows, and what could not be deleted before. On a full disk they count as deleted all the same."""
        self._to_delete.update(rows)
        if not self._to_delete:
            return
        db = self._database()
        size = 0
        try:
            with db:
                db.execute("BEGIN IMMEDIATE")
                for first_and_last in _ranges(self._to_delete):
                    size += db.execute(SUM_RANGE, first_and_last).fetchone()[0]
                    db.execute(DELETE_RANGE, first_and_last)
        except sqlite3.OperationalError as error:
            log.debug("spool_delete_failed", file=str(self.path), error=str(error))
            return
        self.bytes -= size
        self._to_delete.clear()

    def _rows(self, columns: str = "*") -> Iterator[tuple[Any, ...]]:
        """The rows of waiting frames, oldest first; `n` must be the first column."""
        cursor = self._database().execute(
            f"SELECT {columns} FROM frames WHERE n > ? ORDER BY n",  # noqa: S608  # the columns are our own
            (self._leased_through,),
        )
        try:
            for row in cursor:
                if row[0] not in self._to_delete:
                    yield row
        finally:
            cursor.close()  # an open cursor would keep SQLite from resetting the log

    def _count_stored(self) -> int:
        """Frames in the file, leased or waiting."""
        rows = self._database().execute("SELECT n FROM frames")
        return sum(1 for (number,) in rows.fetchall() if number not in self._to_delete)

    def _find_oldest(self) -> None:
        self._oldest_us = next((row[1] for row in self._rows("n, kept_at_us")), None)

    def _count_waiting(self) -> None:
        self.waiting = sum(1 for _ in self._rows("n"))
        self._find_oldest()

    def _row_number(self, number: int) -> int:
        return (self._base or 0) + number

    def _parse(self, row: tuple[Any, ...]) -> SpooledFrame | None:
        """None for a malformed row: that frame alone is lost."""
        number = row[0]
        try:
            frame, jpeg = from_row(row)
        except ValueError:
            self._to_delete.add(number)
            self.losses.append(("spool_damaged", 1))
            return None
        return SpooledFrame(number - (self._base or 0), frame, jpeg)

    def _database(self) -> sqlite3.Connection:
        """The open file; opened or created when it is not."""
        if self._db is None:
            self._db, highest, self.bytes = open_database(self.path)
            if self._base is None:
                self._base = highest
            self._count_waiting()
            self.found += self.waiting
        return self._db

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Raise errors of SQLite and the operating system as SpoolError, and set a damaged file aside."""
        try:
            yield
        except (OSError, sqlite3.DatabaseError) as error:
            found = explain(error, self.path)
            if found is None:
                raise  # a mistake in this module
            if found.reason == "spool_damaged":
                self._set_aside(str(found))
            raise found from error

    def _set_aside(self, reason: str) -> None:
        aside = self.path.with_suffix(".damaged")
        if self.waiting:
            self.losses.append(("spool_damaged", self.waiting))
        log.error("spool_damaged", file=str(self.path), moved_to=str(aside), error=reason, frames=self.waiting)
        self._close()
        try:
            self.path.replace(aside)
            wal_of(self.path).unlink(missing_ok=True)
        except OSError as error:
            log.error("spool_not_moved", file=str(self.path), error=str(error))  # noqa: TRY400  # expected: no traceback
        self._to_delete.clear()
        self.generation += 1

    def _remove(self) -> None:
        if self._db is not None:
            self._db.execute("PRAGMA synchronous=OFF")  # `close` need not wait for the disk
        self._close()
        for path in (self.path, wal_of(self.path)):
            path.unlink(missing_ok=True)
        self._to_delete.clear()

    def _close(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):  # a full disk: what was committed is in the log already
                self._db.close()
        self._db = None
        self.waiting = self.bytes = 0
        self._oldest_us = None


def _ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The first and last of each run of consecutive numbers."""
    for _, run in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        found = [number for _, number in run]
        yield found[0], found[-1]
