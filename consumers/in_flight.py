"""All frames between fetch and acknowledgement: bounded, fair between ordering keys, in order within one. No I/O."""

import asyncio
from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from consumers.in_flight_frame import InFlightFrame


@dataclass
class _KeyQueue:
    """The frames of one ordering key, oldest first: those that wait, and those that a stage works on."""

    waiting: deque[InFlightFrame] = field(default_factory=deque)
    active: deque[InFlightFrame] = field(default_factory=deque)


@dataclass
class _Usage:
    """What a partition has in flight."""

    frames: int = 0
    size_bytes: int = 0


class InFlight:
    """Contains every frame from `add` to `remove`.

    Guarantees: `pop_next` takes the ordering keys in turn, so a long backlog of one delays the others by one frame at
    most; `pop_ready` returns a key's frames in the order of `add`, in whatever order they become complete.
    """

    def __init__(self, *, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._queues: dict[Hashable, _KeyQueue] = {}
        self._turns: deque[Hashable] = deque()  # keys with a waiting frame, each once
        self._usage: dict[TopicPartition, _Usage] = {}
        self._sizes: dict[InFlightFrame, int] = {}
        self.size_bytes = 0
        """Memory in use by all frames."""
        self.waiting = 0
        """Frames that no stage works on yet."""
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def active(self) -> int:
        """Frames that a stage works on."""
        return len(self) - self.waiting

    @property
    def partitions(self) -> frozenset[TopicPartition]:
        """Partitions with a frame in flight."""
        return frozenset(self._usage)

    def add(self, frame: InFlightFrame) -> None:
        """Append a fetched frame to the queue of its ordering key."""
        if (queue := self._queues.get(frame.ordering_key)) is None:
            queue = self._queues[frame.ordering_key] = _KeyQueue()
        if not queue.waiting:
            self._turns.append(frame.ordering_key)
        queue.waiting.append(frame)
        self.waiting += 1
        self._usage.setdefault(frame.partition, _Usage()).frames += 1
        self._sizes[frame] = 0
        self._empty.clear()
        self.update_size(frame)

    def update_size(self, frame: InFlightFrame) -> None:
        """Count the frame's new size: its picture was decoded, or is not needed any more."""
        if frame in self._sizes:
            size_bytes = frame.size_bytes
            self._add_bytes(frame, size_bytes - self._sizes[frame])
            self._sizes[frame] = size_bytes

    def pop_next(self) -> InFlightFrame | None:
        """The next frame to work on; None when none waits."""
        if not self._turns:
            return None
        key = self._turns.popleft()
        queue = self._queues[key]
        frame = queue.waiting.popleft()
        queue.active.append(frame)
        self.waiting -= 1
        if queue.waiting:
            self._turns.append(key)
        return frame

    def pop_ready(self, key: Hashable) -> list[InFlightFrame]:
        """The frames of `key` that can be published now, in order: those before its first incomplete frame."""
        queue = self._queues.get(key)
        ready = []
        while queue and queue.active and queue.active[0].complete:
            ready.append(queue.active.popleft())
        if queue and not queue.active and not queue.waiting:
            del self._queues[key]
        return ready

    def remove(self, frame: InFlightFrame) -> None:
        """Its output was acknowledged, or it is given up. A frame that is not in flight is ignored."""
        if frame not in self._sizes:
            return
        usage = self._usage[frame.partition]
        usage.frames -= 1
        self._add_bytes(frame, -self._sizes.pop(frame))
        if not usage.frames:
            del self._usage[frame.partition]
        if not self._sizes:
            self._empty.set()

    async def idle(self) -> None:
        """Return once nothing is in flight."""
        await self._empty.wait()

    def full(self, partitions: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Which of the assigned `partitions` must not be fetched from now.

        Each may have its share of the frames and bytes in flight; when the total is reached, all are full.
        """
        assigned = set(partitions)
        if len(self) >= self._max_frames or self.size_bytes >= self._max_bytes:
            return assigned
        share = max(1, len(assigned))
        frames, size_bytes = self._max_frames / share, self._max_bytes / share
        return {
            partition
            for partition in assigned & self._usage.keys()
            if self._usage[partition].frames >= frames or self._usage[partition].size_bytes >= size_bytes
        }

    def drop_waiting(self) -> None:
        """Give up every frame that no stage works on yet."""
        for frame in [frame for queue in self._queues.values() for frame in queue.waiting]:
            self.remove(frame)
        self._queues = {key: _KeyQueue(active=queue.active) for key, queue in self._queues.items() if queue.active}
        self._turns.clear()
        self.waiting = 0

    def _add_bytes(self, frame: InFlightFrame, size_bytes: int) -> None:
        self.size_bytes += size_bytes
        self._usage[frame.partition].size_bytes += size_bytes
