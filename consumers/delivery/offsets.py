"""Which offset of each partition may be committed. No I/O."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from aiokafka import TopicPartition


@dataclass
class _Progress:
    """A partition's offsets that are not committable yet, in order, and which of these records are finished."""

    pending: deque[int] = field(default_factory=deque)
    finished: set[int] = field(default_factory=set)
    committable: int | None = None
    reached: int | None = None


class OffsetTracker:
    """Finds the lowest contiguous offset of each partition, in whatever order its records are finished.

    Guarantee: `committable()` never covers a record that was started and not finished. Offsets that were never started
    (gaps left by compaction or transaction markers) block nothing.
    """

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Progress] = {}

    def start(self, partition: TopicPartition, offset: int) -> None:
        """A record was fetched.

        Raises:
            ValueError: not above the partition's last offset; call `forget` before reading it again.
        """
        progress = self._partitions.setdefault(partition, _Progress())
        if progress.pending and offset <= progress.pending[-1]:
            msg = f"offset {offset} of {partition} after {progress.pending[-1]}"
            raise ValueError(msg)
        progress.pending.append(offset)

    def finish(self, partition: TopicPartition, offset: int) -> None:
        """A record's output was acknowledged. Ignored for a forgotten partition: it has another owner."""
        progress = self._partitions.get(partition)
        if progress is None or not progress.pending or offset < progress.pending[0]:
            return
        progress.finished.add(offset)
        while progress.pending and progress.pending[0] in progress.finished:
            first = progress.pending.popleft()
            progress.finished.remove(first)
            progress.committable = first + 1
        if not progress.pending and progress.reached is not None:
            progress.committable = max(progress.committable or 0, progress.reached)

    def reach(self, partition: TopicPartition, offset: int) -> None:
        """Every record below `offset` was started; other offsets below it have no record, so nothing to wait for."""
        progress = self._partitions.setdefault(partition, _Progress())
        if not progress.pending and progress.reached is not None and offset > progress.reached:
            progress.committable = offset
        progress.reached = offset

    def committable(self) -> dict[TopicPartition, int]:
        """The next offset to read of each partition with progress since it was last `committed`."""
        found = self._partitions.items()
        return {partition: p.committable for partition, p in found if p.committable is not None}

    def committed(self, offsets: dict[TopicPartition, int]) -> None:
        """These offsets are stored and need not be committed again."""
        for partition, offset in offsets.items():
            progress = self._partitions.get(partition)
            if progress is not None and progress.committable == offset:
                progress.committable = None

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """These partitions have another owner now, or are read again from the committed offset."""
        for partition in partitions:
            self._partitions.pop(partition, None)
