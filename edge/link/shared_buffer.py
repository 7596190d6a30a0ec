"""Memory shared by a camera's process and the service: the frame counts, and one JPEG."""

import mmap
import os
from dataclasses import dataclass
from enum import IntEnum

_COUNTS_BYTES = mmap.PAGESIZE


class Count(IntEnum):
    """Counts since the service started, over all processes of a camera. Each has one thread that writes it.

    sampled = still + corrupt + captured, and captured = delivered + overrun + unreadable + too_large + those that the
    process has in memory, which are lost if it dies.
    """

    SOURCE_FRAMES = 0  # frames that the source delivered, decoded or not
    SAMPLED = 1  # of them, those that the sampler took
    STILL = 2  # left out, because nothing moved
    CORRUPT = 3  # left out, because the decoder reported damage or failed
    CAPTURED = 4  # given a sequence number
    OVERRUN = 5  # displaced by a newer frame
    DELIVERED = 6  # sent to the service
    UNREADABLE = 7  # could not be converted or encoded
    TOO_LARGE = 8  # larger than a Kafka record may be
    LAST_FRAME_NS = 9  # no count: arrival of the source's last usable frame, monotonic clock; 0 before the first
    LAG_US = 10  # no count: how far the stream lags behind its own clock
    LAST_CAPTURED_US = 11  # no count: the last capture time, for the next process to go on; 0 before the first
    LAST_SKIPPED_NS = 12  # no count: arrival of what is skipped on purpose, monotonic clock; 0 before the first


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
    last_skipped_ns: int = 0

    def of(self, count: Count) -> int:
        """The value of one count."""
        value: int = getattr(self, count.name.lower())
        return value

    @property
    def forwarded(self) -> int:
        """Numbered frames that the process did not drop: the service has them, or is still to get them."""
        return self.captured - self.overrun - self.unreadable - self.too_large


class SharedBuffer:
    """The memory behind `descriptor`, an anonymous file that lasts until its last user closes it.

    It outlives a camera's process, so the counts of a killed process can still be read.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        # Signed 64 bits, stored at once: a reader sees the old value or the new one.
        self._counts = memoryview(self._memory)[:_COUNTS_BYTES].cast("q")
        self._jpeg = memoryview(self._memory)[_COUNTS_BYTES:]

    @classmethod
    def create(cls, jpeg_bytes_max: int, counts: Counts | None = None) -> "SharedBuffer":
        """A new buffer for JPEGs of at most `jpeg_bytes_max`, with `counts` to start from. Call `close` at the end."""
        descriptor = os.memfd_create("framematch-camera")
        os.ftruncate(descriptor, _COUNTS_BYTES + jpeg_bytes_max)
        buffer = cls(descriptor)
        for count in Count:
            buffer.set(count, (counts or Counts()).of(count))
        return buffer

    @property
    def jpeg_bytes_max(self) -> int:
        """Size of the largest JPEG that fits."""
        return len(self._jpeg)

    def add(self, count: Count, number: int = 1) -> int:
        """Add to a count and return its value before. Only for the thread that writes this count."""
        before = self._counts[count]
        self._counts[count] = before + number
        return before

    def set(self, count: Count, value: int) -> None:
        """Replace a value."""
        self._counts[count] = value

    def counts(self) -> Counts:
        """All counts; while a process runs they may be of slightly different moments.

        `captured` is read last, so that no frame is dropped or delivered that was not captured.
        """
        values = self._counts[: len(Count)].tolist()
        values[Count.CAPTURED] = self._counts[Count.CAPTURED]
        return Counts(*values)

    def put_jpeg(self, jpeg: bytes) -> None:
        """Write a JPEG of at most `jpeg_bytes_max`."""
        self._jpeg[: len(jpeg)] = jpeg

    def jpeg(self, size_bytes: int) -> bytes:
        """A copy of the JPEG that was written last."""
        return bytes(self._jpeg[:size_bytes])

    def close(self) -> None:
        """Release the memory; may be called twice."""
        if self.descriptor < 0:
            return
        self._counts.release()
        self._jpeg.release()
        self._memory.close()
        os.close(self.descriptor)
        self.descriptor = -1
