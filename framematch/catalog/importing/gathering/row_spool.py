"""Keeps the rows of a file on disk until it is known which of them belong together."""

import os
import pickle  # only what this process has written itself, to a file without a name
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from framematch.catalog.importing.files.records import Record
from framematch.core.errors import CatalogError


class RowSpool:
    """Takes all records of a file, and gives them back by product. Use it as a context manager.

    Rows that share a key are of one product, also by way of other rows. The records are in a temporary file; with two
    keys each, a million rows take 70 MB of memory, mostly for the hashes of keys, which are compared when all rows
    are known. A plain file with offsets needs no SQL, and pickle keeps values of all types as they are: msgpack would
    turn decimals into text.

    Raises (all methods):
        CatalogError: the disk of the temporary file is full, or cannot be written.
    """

    def __init__(self) -> None:
        self._offsets = array("Q", [0])
        self._hashes = array("q")  # of keys. 64 bits: among 10 million keys two are taken for one once in 370,000 files
        self._rows_of_hashes = array("I")
        try:
            self._file = tempfile.TemporaryFile(prefix="framematch-import-")  # noqa: SIM115  # `__exit__` closes it
        except OSError as error:
            raise _disk_error(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError:
            self._file.close()  # rows that did not fit onto the disk; `add` or `groups` has said so

    @property
    def rows(self) -> int:
        """How many rows were added."""
        return len(self._offsets) - 1

    def add(self, record: Record, keys: Sequence[str]) -> None:
        """Add a row; rows without a key are products by themselves."""
        data = pickle.dumps(record, pickle.HIGHEST_PROTOCOL)
        row = self.rows
        for key in keys:
            self._hashes.append(hash(key))
            self._rows_of_hashes.append(row)
        try:
            self._file.write(data)
        except OSError as error:
            raise _disk_error(error) from error
        self._offsets.append(self._offsets[-1] + len(data))

    def groups(self) -> Iterator[tuple[Record, ...]]:
        """The rows of one product after another, in the order of their first rows; rows in the order of the file."""
        try:
            self._file.flush()
        except OSError as error:
            raise _disk_error(error) from error
        first, following = self._linked()
        for row in range(self.rows):
            if first[row] == row:
                yield tuple(self._group(row, following))

    def _group(self, row: int, following: Sequence[int]) -> Iterator[Record]:
        while True:
            yield self._record(row)
            if following[row] == row:
                return
            row = following[row]

    def _record(self, row: int) -> Record:
        start, end = self._offsets[row], self._offsets[row + 1]
        try:
            data = os.pread(self._file.fileno(), end - start, start)
        except OSError as error:
            raise _disk_error(error) from error
        record: Record = pickle.loads(data)  # noqa: S301  # see above
        return record

    def _linked(self) -> tuple["array[int]", "array[int]"]:
        """For each row the first row of its product, and the next one; the last row is followed by itself."""
        first = array("I", range(self.rows))
        for one, other in self._sharing():
            low, high = sorted((_root(first, one), _root(first, other)))
            first[high] = low
        following = array("I", range(self.rows))
        last = array("I", range(self.rows))
        for row in range(self.rows):
            root = first[row] = _root(first, row)
            following[last[root]] = row
            last[root] = row
        return first, following

    def _sharing(self) -> Iterator[tuple[int, int]]:
        """Pairs of rows that share a key, enough of them to connect all that do."""
        hashes = np.frombuffer(self._hashes, np.int64) if self._hashes else np.zeros(0, np.int64)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        for place in np.flatnonzero(ordered[1:] == ordered[:-1]):
            yield self._rows_of_hashes[order[place]], self._rows_of_hashes[order[place + 1]]


def _root(first: "array[int]", row: int) -> int:
    while first[row] != row:
        first[row] = first[first[row]]
        row = first[row]
    return row


def _disk_error(error: OSError) -> CatalogError:
    return CatalogError(
        f"the rows of the file cannot be kept in {tempfile.gettempdir()} meanwhile: {error.strerror}",
        hint="Set TMPDIR to a folder with as much room as the file has, twice to be safe",
    )
