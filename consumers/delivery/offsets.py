"""Which offset of each partition may be committed: pure bookkeeping, no I/O."""

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Partition = TypeVar("Partition", bound=Hashable)


@dataclass
class _Progress:
    """One partition: records fetched and not yet committable, in offset order, and which of them are done."""

    pending: deque[int] = field(default_factory=deque)
    done: set[int] = field(default_factory=set)
    committable: int | None = None


class OffsetTracker(Generic[Partition]):
    """Turns completions in any order into the lowest contiguous offset per partition.

    Guarantee: `committable()` never covers a record that was started and is not done. Offsets that were never started
    (gaps that compaction or transaction markers leave) do not hold anything up.
    """

    def __init__(self) -> None:
        self._partitions: dict[Partition, _Progress] = {}

    def start(self, partition: Partition, offset: int) -> None:
        """A record was fetched.

        Raises:
            ValueError: offsets of one partition must rise; call `forget` before reading it again from an earlier one.
        """
        progress = self._partitions.setdefault(partition, _Progress())
        if progress.pending and offset <= progress.pending[-1]:
            msg = f"offset {offset} of {partition} after {progress.pending[-1]}"
            raise ValueError(msg)
        progress.pending.append(offset)

    def finish(self, partition: Partition, offset: int) -> None:
        """A record's output was acknowledged. Records of a forgotten partition are ignored: it has another owner."""
        progress = self._partitions.get(partition)
        if progress is None or not progress.pending or offset < progress.pending[0]:
            return
        progress.done.add(offset)
        while progress.pending and progress.pending[0] in progress.done:
            first = progress.pending.popleft()
            progress.done.remove(first)
            progress.committable = first + 1

    def committable(self) -> dict[Partition, int]:
        """The next offset to read of each partition with progress since it was last `committed`."""
        found = self._partitions.items()
        return {partition: p.committable for partition, p in found if p.committable is not None}

    def committed(self, offsets: dict[Partition, int]) -> None:
        """These offsets are stored: they need not be committed again."""
        for partition, offset in offsets.items():
            progress = self._partitions.get(partition)
            if progress is not None and progress.committable == offset:
                progress.committable = None

    def in_flight(self, partitions: Iterable[Partition] | None = None) -> int:
        """How many started records of these partitions (default: all) hold up a commit or are not done."""
        chosen = self._partitions if partitions is None else partitions
        return sum(len(self._partitions[p].pending) for p in chosen if p in self._partitions)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These partitions have another owner now, or are read again from the committed offset."""
        for partition in partitions:
            self._partitions.pop(partition, None)
