"""The newest events in memory, once for all clients."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from framematch.api.stream.events import Gap, Item, Published, Reset
from framematch.api.stream.positions import Positions

_OVERHEAD_BYTES = 640  # of an entry, beside its text: objects, references, strings


@dataclass(frozen=True, slots=True)
class Entry:
    """An item, and the event id behind it with its line."""

    item: Item
    id: bytes

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        text = len(self.item.text) if isinstance(self.item, Published) else 0
        return text + len(self.id) + _OVERHEAD_BYTES


class Ring:
    """The newest entries, numbered from 0 in the order of their arrival, within a number of bytes.

    Nobody is waited for: a client that is slower finds that its next entry is gone. `positions` are those behind the
    newest entry.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: dict[int, Entry] = {}
        self.first = 0
        """The number of the oldest entry that is still there."""
        self.end = 0
        """The number of the next entry."""
        self._size_bytes = 0
        self._before_first = Positions().encode()
        self._after_reset = 0  # entries before it have offsets that cannot be compared with later ones
        self._changed = asyncio.Event()
        self.positions = Positions()
        self.started = asyncio.Event()

    @property
    def size_bytes(self) -> int:
        """About how much memory the entries take."""
        return self._size_bytes

    def start(self, positions: Positions) -> None:
        """Begin behind these positions; called once, before the first entry."""
        self.positions = positions
        self._before_first = positions.encode()
        self.started.set()

    def append(self, item: Item) -> None:
        """Add the item that was read next; `publish` then tells the clients."""
        match item:
            case Published():
                self.positions.move(item.topic, item.partition, item.offset + 1)
            case Gap():
                self.positions.move(item.topic, item.partition, item.stop)
            case Reset():
                apply_reset(self.positions, item)
                self._after_reset = self.end + 1
        entry = Entry(item, self.positions.encode())
        self._entries[self.end] = entry
        self.end += 1
        self._size_bytes += entry.size_bytes
        while self._size_bytes > self._max_bytes:
            self._drop_first()

    def publish(self) -> None:
        """Wake the clients."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Wait for the next `publish`."""
        await self._changed.wait()

    def entries(self, first: int) -> Iterator[Entry] | None:
        """The entries from this number on, as many as there are now; None when the first of them is gone."""
        if first < self.first:
            return None
        return (self._entries[number] for number in range(first, self.end))

    def oldest(self) -> Positions:
        """The positions from which on a client can follow the ring."""
        return Positions.decode(self._before(max(self.first, self._after_reset)))

    def find(self, positions: Positions) -> int | None:
        """The number from which on a client that has read up to `positions` must look; None when some are gone.

        Among the entries from there on there may be some that the client has already, when it comes from another
        process, which has read the partitions in another order.
        """
        if positions.contradicts(self.positions):
            return None
        low, high = max(self.first, self._after_reset), self.end
        if not Positions.decode(self._before(low)).is_covered_by(positions):
            return None
        while low < high:  # the last number up to which the client has everything
            middle = (low + high + 1) // 2
            if Positions.decode(self._before(middle)).is_covered_by(positions):
                low = middle
            else:
                high = middle - 1
        return low

    def _before(self, number: int) -> bytes:
        return self._before_first if number == self.first else self._entries[number - 1].id

    def _drop_first(self) -> None:
        entry = self._entries.pop(self.first)
        self.first += 1
        self._size_bytes -= entry.size_bytes
        self._before_first = entry.id


def apply_reset(positions: Positions, reset: Reset) -> None:
    """Go to where a topic begins anew."""
    if reset.reason == "topic_recreated":
        positions.restart(reset.topic, reset.tag)
    for partition, offset in reset.offsets.items():
        positions.move(reset.topic, partition, offset)
