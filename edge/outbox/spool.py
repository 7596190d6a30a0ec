"""Keeps one camera's frames on disk while Kafka does not take them: one SQLite file, gone when it is empty."""

import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from edge.outbox.spool_file import (
    INSERT,
    Kept,
    SpoolError,
    explain,
    from_row,
    log_beside,
    open_database,
    to_row,
    transaction,
)
from framematch.core.timestamps import now_us

__all__ = ["Kept", "Spool", "SpoolError"]

log = structlog.get_logger()

_US_PER_S = 1_000_000


class Spool:
    """The frames of one camera, by their order numbers: those taken, whose fate is open, and those that wait.

    Numbers are the caller's, above 0; frames that an earlier life left get numbers up to 0. For one thread, but for
    the properties. The oldest that wait are given up for more than `max_bytes` or `max_age_s`; never those taken.
    What is given up is told in `losses`, as pairs of a reason and a count.
    """

    def __init__(self, path: Path, *, max_bytes: int, max_age_s: float, clock_us: Callable[[], int] = now_us) -> None:
        self.path = path
        self.losses: deque[tuple[str, int]] = deque()
        self._max_bytes = max_bytes
        self._max_age_us = int(max_age_s * _US_PER_S)
        self._clock_us = clock_us
        self._db: sqlite3.Connection | None = None
        self._base: int | None = None
        self._generation = 1
        self._taken_through = 0  # stored number
        self._gone: set[int] = set()  # stored numbers that are done with, but not deleted yet: the disk was full
        self._waiting = self._bytes = 0
        self._oldest_us: int | None = None

    @property
    def waiting(self) -> int:
        """Frames on disk that have not been taken."""
        return self._waiting

    @property
    def bytes(self) -> int:
        """Size of all frames on disk, those taken included."""
        return self._bytes

    @property
    def generation(self) -> int:
        """Changes when the file was given up: what was kept in an earlier generation is not on disk any more."""
        return self._generation

    def append(self, kept: Sequence[Kept], *, taken: bool = False) -> int:
        """Keep frames, all or none, and give up the oldest for them. `taken`: they are on their way already.

        Returns:
            The generation that holds them.

        Raises:
            SpoolError: the file cannot be written.
        """
        try:
            return self._append(kept, taken=taken)
        except SpoolError as error:
            if error.reason != "spool_damaged":
                raise
            return self._append(kept, taken=taken)  # into a new file

    def take(self, frames_max: int, bytes_max: int) -> list[Kept]:
        """The oldest frames that wait, one at least; they are taken then. None: the file is empty and was removed.

        Raises:
            SpoolError: the file cannot be read.
        """
        if self._db is None and not self.path.exists():
            return []
        with self._guarded():
            self._expire()
            found: list[Kept] = []
            through, seen, size = self._taken_through, 0, 0
            for row in self._rows():
                if found and (len(found) >= frames_max or size + row[2] > bytes_max):
                    break
                through, seen, size = row[0], seen + 1, size + row[2]
                if kept := self._kept(row):
                    found.append(kept)
            self._taken_through = through
            self._waiting -= seen
            self._find_oldest()
            if not found and not self._stored():
                self._remove()
            return found

    def look(self) -> bool:
        """Whether there is a file with frames that wait.

        Raises:
            SpoolError: the file cannot be read.
        """
        if self._db is None and self.path.exists():
            with self._guarded():
                self._opened()
        return self._waiting > 0

    def untake(self, number: int) -> None:
        """Frames from `number` on wait again.

        Raises:
            SpoolError: the file cannot be read.
        """
        with self._guarded():
            self._opened()
            self._taken_through = self._stored_number(number) - 1
            self._count()

    def done(self, numbers: Collection[int]) -> None:
        """The fate of these is known: delete them. When the disk is full, they are remembered and deleted later."""
        if self._db is None:
            return
        stored = {self._stored_number(number) for number in numbers}
        self._gone |= stored
        with suppress(SpoolError), self._guarded():
            self._purge()

    def expire(self) -> None:
        """Give up what waits for longer than `max_age_s`."""
        if self._waiting and self._db is not None:
            with suppress(SpoolError), self._guarded():
                self._expire()

    def give_up(self) -> None:
        """The file could not be read again and again: lose what waits in it, set it aside, and go on without."""
        if self._waiting:
            self._set_aside("it cannot be read")

    def close(self) -> int:
        """Close the file, and remove it when it is empty. Returns the frames that are left in it."""
        left = 0
        if self._db is not None:
            with suppress(SpoolError), self._guarded():
                self._purge()
                left = self._stored()
                if not left:
                    self._remove()
        self._close()
        return left

    def _append(self, kept: Sequence[Kept], *, taken: bool) -> int:
        with self._guarded():
            db = self._opened()
            self._expire()
            size = sum(len(item.jpeg) for item in kept)
            self._make_room(size)
            if not taken and self._bytes + size > self._max_bytes:
                self.losses.append(("full", len(kept)))  # what is on its way fills it
                return self._generation
            at_us = self._clock_us()
            with transaction(db):
                db.executemany(INSERT, [to_row(self._stored_number(item.number), item, at_us) for item in kept])
            self._bytes += size
            if taken:
                self._taken_through = max(self._taken_through, *(self._stored_number(item.number) for item in kept))
            else:
                self._waiting += len(kept)
                self._oldest_us = self._oldest_us or at_us
            return self._generation

    def _make_room(self, size: int) -> None:
        excess = self._bytes + size - self._max_bytes
        doomed: list[tuple[int, int]] = []
        if excess > 0:
            for row in self._rows("n, kept_at_us, size"):
                if excess <= 0:
                    break
                doomed.append((row[0], row[2]))
                excess -= row[2]
        self._give_up(doomed, "full")

    def _expire(self) -> None:
        self._opened()
        if self._oldest_us is None:
            return
        doomed: list[tuple[int, int]] = []
        before_us = self._clock_us() - self._max_age_us
        for row in self._rows("n, kept_at_us, size"):
            if row[1] >= before_us:
                break
            doomed.append((row[0], row[2]))
        self._give_up(doomed, "age")

    def _give_up(self, doomed: list[tuple[int, int]], reason: str) -> None:
        if not doomed:
            return
        self._waiting -= len(doomed)
        self._gone |= {number for number, _ in doomed}
        self.losses.append((reason, len(doomed)))
        self._find_oldest()
        self._purge()

    def _purge(self) -> None:
        """Delete what is gone. A full disk must not stop us: then it stays gone in memory alone."""
        if not self._gone:
            return
        db = self._opened()
        size = 0
        try:
            with transaction(db):
                for number in self._gone:
                    for row in db.execute("DELETE FROM frames WHERE n = ? RETURNING size", (number,)).fetchall():
                        size += row[0]
        except sqlite3.OperationalError as error:
            log.debug("spool_delete_failed", file=str(self.path), error=str(error))
            return
        self._bytes -= size
        self._gone.clear()

    def _rows(self, columns: str = "*") -> Iterator[tuple[Any, ...]]:
        """What waits, oldest first."""
        cursor = self._opened().execute(
            f"SELECT {columns} FROM frames WHERE n > ? ORDER BY n",  # noqa: S608  # the columns are our own
            (self._taken_through,),
        )
        try:
            for row in cursor:
                if row[0] not in self._gone:
                    yield row
        finally:
            cursor.close()  # an open cursor would keep the log from being reset

    def _stored(self) -> int:
        """Frames in the file whose fate is open."""
        rows = self._opened().execute("SELECT n FROM frames")
        return sum(1 for (number,) in rows.fetchall() if number not in self._gone)

    def _find_oldest(self) -> None:
        self._oldest_us = next((row[1] for row in self._rows("n, kept_at_us")), None)

    def _count(self) -> None:
        self._waiting = sum(1 for _ in self._rows("n"))
        self._find_oldest()

    def _stored_number(self, number: int) -> int:
        return (self._base or 0) + number

    def _kept(self, row: tuple[Any, ...]) -> Kept | None:
        """None when a row cannot be understood: it is lost, and the others are not."""
        number = row[0]
        try:
            frame, jpeg = from_row(row)
        except ValueError:
            self._gone.add(number)
            self.losses.append(("spool_damaged", 1))
            return None
        return Kept(number - (self._base or 0), frame, jpeg)

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self._db, highest, self._bytes = open_database(self.path)
            if self._base is None:
                self._base = highest
            self._count()
        return self._db

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """SQLite's errors and the operating system's as SpoolError; a damaged file is set aside."""
        try:
            yield
        except (OSError, sqlite3.DatabaseError) as error:
            found = explain(error, self.path)
            if found is None:
                raise  # a mistake in this module
            if found.reason == "spool_damaged":
                self._set_aside(str(found))
            raise found from error

    def _set_aside(self, why: str) -> None:
        aside = self.path.with_suffix(".damaged")
        if self._waiting:
            self.losses.append(("spool_damaged", self._waiting))
        log.error("spool_damaged", file=str(self.path), moved_to=str(aside), error=why, frames=self._waiting)
        self._close()
        try:
            self.path.replace(aside)
            log_beside(self.path).unlink(missing_ok=True)
        except OSError as error:
            log.error("spool_not_moved", file=str(self.path), error=str(error))  # noqa: TRY400  # no traceback: known
        self._gone.clear()
        self._generation += 1

    def _remove(self) -> None:
        self._close()
        for path in (self.path, log_beside(self.path)):
            path.unlink(missing_ok=True)
        self._gone.clear()

    def _close(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):  # a full disk: what was committed is in the log already
                self._db.close()
        self._db = None
        self._waiting = self._bytes = 0
        self._oldest_us = None
