"""The bytes of a catalogue file, from the start as often as needed: a file, a pipe, and what gzip has packed."""

import gzip
import io
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from framematch.core.errors import CatalogError, UsageError

_GZIP = b"\x1f\x8b"
# Text shrinks to a tenth; deflate can pack a thousand bytes of one kind into one.
_RATIO_MAX = 200
_UNPACKED_FREE_BYTES = 64 * 1024 * 1024  # a small file may repeat itself as it likes


class ByteSource:
    """An open file that can be read from its start several times.

    `cut` says what was wrong when the file ended in the middle; it is known when the bytes were read to their end.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.seek(0, io.SEEK_END)
        self.size_bytes = file.tell()
        file.seek(0)
        self.packed = file.read(len(_GZIP)) == _GZIP
        self.cut: str | None = None

    @property
    def position_bytes(self) -> int:
        """How far the file was read, of `size_bytes`."""
        return min(self._file.tell(), self.size_bytes)

    def start(self, count: int) -> bytes:
        """The first `count` bytes, unpacked."""
        return self.opened().read(count)

    def opened(self) -> io.BufferedReader:
        """All bytes from the start. One reader at a time: they share the position in the file.

        Reading raises CatalogError if gzip unpacks a bomb.
        """
        self._file.seek(0)
        raw = _Unpacked(self._file, self) if self.packed else _Plain(self._file)
        return io.BufferedReader(raw, 256 * 1024)

    def seekable_file(self) -> IO[bytes]:
        """The file itself, at its start."""
        self._file.seek(0)
        return self._file


@contextmanager
def open_bytes(path: Path | IO[bytes]) -> Iterator[ByteSource]:
    """Open a file, if it is not open already; a pipe is copied to a temporary file first, as it can be read only once.

    Raises:
        UsageError: it cannot be read.
    """
    if not isinstance(path, Path):
        yield ByteSource(path)
        return
    with ExitStack() as opened:
        try:
            file: IO[bytes] = opened.enter_context(path.open("rb"))
            if not file.seekable():
                copy = opened.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(file, copy)
                file = copy
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}", hint="Check the path") from None
        yield ByteSource(file)


class _Plain(io.RawIOBase):
    """Leaves the file open when its reader is closed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed has a private protocol here
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Unpacked(io.RawIOBase):
    """What gzip has packed; ends where the packed data are cut or damaged, and tells the source."""

    def __init__(self, file: IO[bytes], source: ByteSource) -> None:
        self._file = file
        self._source = source
        self._gzip = gzip.GzipFile(fileobj=file, mode="rb")
        self._unpacked_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed has a private protocol here
        try:
            data = self._gzip.read1(len(buffer))
        except EOFError:
            self._source.cut = "the gzip data end in the middle"
            return 0
        except (gzip.BadGzipFile, zlib.error):
            self._source.cut = "the gzip data are damaged"
            return 0
        self._unpacked_bytes += len(data)
        if self._unpacked_bytes > max(_UNPACKED_FREE_BYTES, _RATIO_MAX * self._file.tell()):
            raise CatalogError(
                f"the file unpacks to more than {_RATIO_MAX} times its size, as no catalogue does",
                hint="Unpack it yourself if you trust it: gunzip FILE",
            )
        buffer[: len(data)] = data
        return len(data)
