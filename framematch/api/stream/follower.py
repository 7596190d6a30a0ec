"""One client's way through the events: from the ring while they are there, else from Kafka."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, suppress

import msgspec

from framematch.api.stream.events import Gap, Item, Published, Reset, Wanted, event_text, id_line
from framematch.api.stream.history import History, Piece
from framematch.api.stream.metrics import StreamMetrics
from framematch.api.stream.positions import KINDS, Positions
from framematch.api.stream.ring import Entry, Ring, apply_reset
from framematch.core.errors import KafkaUnavailableError

PING_S = 15.0
RETRY_MS = 2_000
"""How long a browser waits before it connects again."""
_WAIT_S = 5.0
_RETRY_S = 1.0
_CHUNK_BYTES = 65_536
_MAX_ENTRIES = 2_000  # before the event loop does something else


class Follower:
    """What one client gets, as chunks of an event stream.

    A client is only its positions: the id of the entry up to which it has the ring. One that comes with an id of
    another process has positions of its own until the ring has passed them, as that process may have read the
    partitions in another order.
    """

    def __init__(
        self,
        ring: Ring,
        history: History,
        metrics: StreamMetrics,
        wanted: Wanted,
        start: Positions,
    ) -> None:
        self._ring = ring
        self._history = history
        self._wanted = wanted
        self._metrics = metrics
        self._own: Positions | None = start
        self._id = start.encode()
        self._sent_id = self._id
        self._judged = False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Everything behind the start, without end; at least every `PING_S` something, so that proxies keep it open."""
        yield b"retry: %d\n" % RETRY_MS + id_line(self._id)
        sent_at_s = time.monotonic()
        async with aclosing(self._steps()) as steps:
            async for chunk in steps:
                ping = b"" if chunk or time.monotonic() < sent_at_s + PING_S else self._ping()
                if chunk or ping:
                    yield chunk or ping
                    sent_at_s = time.monotonic()
                del chunk, ping  # it would be kept until the next one comes

    async def _steps(self) -> AsyncGenerator[bytes, None]:
        """As `chunks`, but also nothing from time to time."""
        while True:
            position, end = self._positions(), self._ring.positions
            # An id that this process cannot have made, or has not come to yet: Kafka knows.
            if position.contradicts(end) or not (self._judged or position.is_covered_by(end)):
                steps = self._ask_kafka(judge=True)
            elif (number := self._ring.find(position)) is None:
                steps = self._ask_kafka(judge=False)
            else:
                steps = self._follow(number)
            async with aclosing(steps):
                async for chunk in steps:
                    yield chunk
                    del chunk

    async def _follow(self, number: int) -> AsyncGenerator[bytes, None]:
        """The entries from this number on, until they are gone before they were sent."""
        while (entries := self._ring.entries(number)) is not None:
            parts: list[bytes] = []
            size = 0
            passed = 0
            for entry in entries:
                passed += 1
                text = self._pass(entry)
                if text is not None:
                    parts += (text, b"id: ", self._id, b"\n\n")
                    size += len(text)
                if size >= _CHUNK_BYTES or passed >= _MAX_ENTRIES:
                    break
            number += passed
            if passed and self._own is not None and number == self._ring.end:
                self._come_to_the_end()
            if parts:
                yield self._counted(parts)
            elif passed:
                await asyncio.sleep(0)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_WAIT_S):
                        await self._ring.changed()
                if number == self._ring.end:
                    self._come_to_the_end()
                    yield b""

    async def _ask_kafka(self, *, judge: bool) -> AsyncGenerator[bytes, None]:
        """One piece of what is older than the ring, or what is wrong with the client's positions."""
        self._own = self._positions()
        before = self._id
        async with AsyncExitStack() as stack:
            entering = asyncio.ensure_future(stack.enter_async_context(self._history.reader()))
            try:
                while not entering.done():
                    await asyncio.wait({entering}, timeout=_WAIT_S)
                    yield b""
                reader = entering.result()
            finally:
                entering.cancel()
            with suppress(KafkaUnavailableError):  # the reader of the ring reports it
                read = reader.judged(self._own) if judge else reader.read(self._own, self._ring.oldest())
                piece = await read
                self._judged |= judge
                yield self._take(piece)  # the reader is kept meanwhile, so their number limits the memory too
        if self._id == before:
            await asyncio.sleep(_RETRY_S)
            yield b""

    def _positions(self) -> Positions:
        return self._own or Positions.decode(self._id)

    def _pass(self, entry: Entry) -> bytes | None:
        """Go behind this entry; returns what the client gets of it."""
        if self._own is None:
            self._id = entry.id
            return self._text(entry.item)
        item = self._new_to(self._own, entry.item)
        if item is not None:
            self._id = self._own.encode()
        if self._id == entry.id:
            self._own = None
        return None if item is None else self._text(item)

    def _take(self, piece: Piece) -> bytes:
        own = self._positions()
        parts: list[bytes] = []
        for item in piece.items:
            new = self._new_to(own, item)
            self._id = own.encode()
            if new is not None and (text := self._text(new)) is not None:
                parts += (text, b"id: ", self._id, b"\n\n")
        self._own, self._id = piece.positions, piece.positions.encode()
        return self._counted(parts)

    def _counted(self, parts: list[bytes]) -> bytes:
        self._metrics.events.inc(len(parts) // 4)
        if parts:
            self._sent_id = parts[-2]
        return b"".join(parts)

    @staticmethod
    def _new_to(own: Positions, item: Item) -> Item | None:
        """What of an item is not behind these positions, which move behind it."""
        if isinstance(item, Reset):
            if item.reason == "topic_recreated" and own.tags[item.topic] == item.tag:
                return None
            apply_reset(own, item)
            return item
        offset = own.offset(item.topic, item.partition)
        stop = item.offset + 1 if isinstance(item, Published) else item.stop
        if offset >= stop:
            return None
        own.move(item.topic, item.partition, stop)
        if isinstance(item, Gap) and offset > item.first:
            return Gap(item.topic, item.partition, offset, stop, item.reason)
        return item

    def _text(self, item: Item) -> bytes | None:
        if isinstance(item, Published):
            return item.text if self._wanted.takes(item) else None
        if not self._wanted.topic(item.topic):
            return None
        about = {"type": KINDS[item.topic], "topic": self._history.topics[item.topic], "reason": item.reason}
        if isinstance(item, Reset):
            return event_text("reset", msgspec.json.encode(about))
        self._metrics.gaps.inc()
        gap = {"partition": item.partition, "from": item.first, "to": item.stop, "count": item.stop - item.first}
        return event_text("gap", msgspec.json.encode(about | gap))

    def _come_to_the_end(self) -> None:
        """Go on over offsets without an event: all entries of the ring are behind the client."""
        end = self._ring.positions
        if self._own is not None:
            self._own.advance_to(end)
        position = end if self._own is None else self._own
        self._id = position.encode()
        if self._id == end.encode():
            self._own = None

    def _ping(self) -> bytes:
        """A comment, and the id if it has moved on: then a client need not read again what it does not want."""
        if self._id == self._sent_id:
            return b": ping\n\n"
        self._sent_id = self._id
        return b": ping\n" + id_line(self._id)
