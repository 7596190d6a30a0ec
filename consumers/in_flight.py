"""All frames between fetch and acknowledgement: bounded, taken in turns, answered in order. No I/O."""

import asyncio
from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from consumers.work import Work


@dataclass
class _Lane:
    """Frames that must be answered in order: those that wait, and those that were taken, oldest first."""

    waiting: deque[Work] = field(default_factory=deque)
    taken: deque[Work] = field(default_factory=deque)


@dataclass
class _Held:
    """What a partition has in flight."""

    frames: int = 0
    size_bytes: int = 0


class InFlight:
    """Holds every frame from `add` to `done`.

    Guarantees: `take` gives the lanes a turn each, so that a long backlog in one delays the others by one frame at
    most; `finished` gives a lane's frames in the order of `add`, however their stages end.
    """

    def __init__(self, *, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._lanes: dict[Hashable, _Lane] = {}
        self._turns: deque[Hashable] = deque()  # lanes with a frame that waits, each once
        self._held: dict[TopicPartition, _Held] = {}
        self._sizes: dict[Work, int] = {}
        self._bytes = 0
        self._waiting = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def size_bytes(self) -> int:
        """Of all frames in flight."""
        return self._bytes

    @property
    def waiting(self) -> int:
        """Frames that no stage works on yet."""
        return self._waiting

    @property
    def taken(self) -> int:
        """Frames that some stage works on."""
        return len(self) - self._waiting

    @property
    def partitions(self) -> frozenset[TopicPartition]:
        """Those of which a frame is in flight."""
        return frozenset(self._held)

    def add(self, work: Work) -> None:
        """A frame was fetched."""
        lane = self._lanes.setdefault(work.lane, _Lane())
        if not lane.waiting:
            self._turns.append(work.lane)
        lane.waiting.append(work)
        self._waiting += 1
        self._held.setdefault(work.partition, _Held()).frames += 1
        self._sizes[work] = 0
        self._empty.clear()
        self.weigh(work)

    def weigh(self, work: Work) -> None:
        """Its size has changed: its picture was decoded, or is not needed any more."""
        if work in self._sizes:
            self._count(work, work.size_bytes - self._sizes[work])
            self._sizes[work] = work.size_bytes

    def take(self) -> Work | None:
        """The next frame to work on, or None when none waits."""
        if not self._turns:
            return None
        name = self._turns.popleft()
        lane = self._lanes[name]
        work = lane.waiting.popleft()
        lane.taken.append(work)
        self._waiting -= 1
        if lane.waiting:
            self._turns.append(name)
        return work

    def finished(self, work: Work) -> list[Work]:
        """`work` is complete: the frames of its lane that can be answered now, in order; none if one before is not."""
        lane = self._lanes.get(work.lane)
        ready = []
        while lane and lane.taken and lane.taken[0].complete:
            ready.append(lane.taken.popleft())
        if lane and not lane.taken and not lane.waiting:
            del self._lanes[work.lane]
        return ready

    def done(self, work: Work) -> None:
        """Its output was acknowledged, or it is given up: it takes no room any more."""
        if work not in self._sizes:
            return
        held = self._held[work.partition]
        held.frames -= 1
        self._count(work, -self._sizes.pop(work))
        if not held.frames:
            del self._held[work.partition]
        if not self._sizes:
            self._empty.set()

    async def idle(self) -> None:
        """Return once nothing is in flight."""
        await self._empty.wait()

    def full(self, assigned: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those partitions of `assigned` that may not be fetched from now.

        Each may hold its share of the frames; when all of them together hold too much, that is all of them.
        """
        partitions = set(assigned)
        if len(self) >= self._max_frames or self._bytes >= self._max_bytes:
            return partitions
        share = max(1, len(partitions))
        frames, size_bytes = self._max_frames / share, self._max_bytes / share
        return {
            partition
            for partition in partitions & self._held.keys()
            if self._held[partition].frames >= frames or self._held[partition].size_bytes >= size_bytes
        }

    def drop_waiting(self) -> None:
        """Give up every frame that no stage works on yet."""
        for work in [work for lane in self._lanes.values() for work in lane.waiting]:
            self.done(work)
        self._lanes = {name: _Lane(taken=lane.taken) for name, lane in self._lanes.items() if lane.taken}
        self._turns.clear()
        self._waiting = 0

    def clear(self) -> None:
        """Give up everything."""
        self._lanes.clear()
        self._turns.clear()
        self._held.clear()
        self._sizes.clear()
        self._bytes = self._waiting = 0
        self._empty.set()

    def _count(self, work: Work, more_bytes: int) -> None:
        self._bytes += more_bytes
        self._held[work.partition].size_bytes += more_bytes
