"""Memory that a camera's process and the service share: the counts of its frames, and room for one JPEG."""

import mmap
import os
from dataclasses import dataclass
from enum import IntEnum

_COUNTS_BYTES = mmap.PAGESIZE


class Count(IntEnum):
    """Counts since the service started, over all processes of a camera. Each has one thread that writes it.

    sampled = still + corrupt + captured, and captured = delivered + overrun + unreadable + too_large + those that the
    process holds at the moment, which go down with it.
    """

    SOURCE_FRAMES = 0
    """frames that the source delivered"""
    SAMPLED = 1
    """of them, those that the sampler took"""
    STILL = 2
    """left out, because nothing moved"""
    CORRUPT = 3
    """left out, because the decoder says that they are damaged or failed on them"""
    CAPTURED = 4
    """given a sequence number"""
    OVERRUN = 5
    """displaced by a newer frame"""
    DELIVERED = 6
    """handed to the service"""
    UNREADABLE = 7
    """could not be converted or encoded"""
    TOO_LARGE = 8
    """more bytes than Kafka takes"""
    LAST_FRAME_NS = 9
    """no count: when the source's last frame came, by the monotonic clock; 0 before the first"""
    LAG_US = 10
    """no count: how far the stream lags behind its own clock"""
    LAST_CAPTURED_US = 11
    """no count: the last capture time given, so that those of the next process follow it; 0 before the first"""


@dataclass(frozen=True)
class Counts:
    """All counts at one moment; see `Count`."""

    source_frames: int = 0
    sampled: int = 0
    still: int = 0
    corrupt: int = 0
    captured: int = 0
    overrun: int = 0
    delivered: int = 0
    unreadable: int = 0
    too_large: int = 0
    last_frame_ns: int = 0
    lag_us: int = 0
    last_captured_us: int = 0

    def of(self, count: Count) -> int:
        """One of them."""
        value: int = getattr(self, count.name.lower())
        return value

    @property
    def handed_on(self) -> int:
        """Frames with a number that the camera's process did not give up: the service has them, or is to get them."""
        return self.captured - self.overrun - self.unreadable - self.too_large


class SharedArea:
    """The memory behind `descriptor`, a file that exists in memory alone and ends with its last user.

    It outlives a camera's process, so that what a killed one has counted is still there.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        # Signed 64 bits, stored at once: a reader sees the old value or the new one.
        self._words = memoryview(self._memory)[:_COUNTS_BYTES].cast("q")
        self._room = memoryview(self._memory)[_COUNTS_BYTES:]

    @classmethod
    def create(cls, jpeg_bytes_max: int, counts: Counts | None = None) -> "SharedArea":
        """A new area with room for a JPEG of `jpeg_bytes_max`, which counts on from `counts`; `close` it."""
        descriptor = os.memfd_create("framematch-camera")
        os.ftruncate(descriptor, _COUNTS_BYTES + jpeg_bytes_max)
        area = cls(descriptor)
        for count in Count:
            area.set(count, (counts or Counts()).of(count))
        return area

    @property
    def jpeg_bytes_max(self) -> int:
        """The largest JPEG that it has room for."""
        return len(self._room)

    def add(self, count: Count, number: int = 1) -> int:
        """Add to a count and return what it was. For the one thread that writes this count."""
        before = self._words[count]
        self._words[count] = before + number
        return before

    def set(self, count: Count, value: int) -> None:
        """Replace a value."""
        self._words[count] = value

    def counts(self) -> Counts:
        """All counts; while a process runs they may be of slightly different moments."""
        return Counts(*self._words[: len(Count)])

    def put_jpeg(self, jpeg: bytes) -> None:
        """Lay `jpeg`, of at most `jpeg_bytes_max`, into the room."""
        self._room[: len(jpeg)] = jpeg

    def jpeg(self, size_bytes: int) -> bytes:
        """A copy of what lies in the room."""
        return bytes(self._room[:size_bytes])

    def close(self) -> None:
        """Give the memory back; twice is fine."""
        if self.descriptor < 0:
            return
        self._words.release()
        self._room.release()
        self._memory.close()
        os.close(self.descriptor)
        self.descriptor = -1
