"""What clients get: the events of Kafka as they were published, and marks where some are missing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
from aiokafka import ConsumerRecord

from framematch.api.stream.positions import KINDS

GapReason = Literal["retention", "unreadable"]
ResetReason = Literal["topic_recreated", "partition_truncated"]

REMOVED = "status_removed"
"""A camera was removed: its status in the topic is a record without a value."""


@dataclass(frozen=True, slots=True)
class Published:
    """An event of a topic. `text` is all of it in the event stream but its id; `score` and the like are for filters."""

    topic: int
    partition: int
    offset: int
    kind: str
    camera: str
    text: bytes
    product: str | None = None
    decision: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets [`first`, `stop`) of a partition that can no longer be had."""

    topic: int
    partition: int
    first: int
    stop: int
    reason: GapReason


@dataclass(frozen=True, slots=True)
class Reset:
    """The offsets of a topic begin anew at `offsets`, by partition: former ids have no meaning for it."""

    topic: int
    tag: bytes
    offsets: dict[int, int]
    reason: ResetReason


Item = Published | Gap | Reset


class _Frame(msgspec.Struct):
    camera: str


class _Product(msgspec.Struct):
    id: str


class _Best(msgspec.Struct):
    score: float


class _Match(msgspec.Struct):
    frame: _Frame
    decision: str
    score: float | None = None
    product: _Product | None = None


class _Sighting(msgspec.Struct):
    camera: str
    product: _Product
    best: _Best


class _Status(msgspec.Struct):
    camera: str


_MATCH, _SIGHTING, _STATUS = (KINDS.index(kind) for kind in ("match", "sighting", "status"))
# Only what is filtered by: the rest is passed on as it is.
_DECODERS: dict[int, msgspec.json.Decoder[_Match | _Sighting | _Status]] = {
    _MATCH: msgspec.json.Decoder(_Match),
    _SIGHTING: msgspec.json.Decoder(_Sighting),
    _STATUS: msgspec.json.Decoder(_Status),
}


def published(topic: int, record: ConsumerRecord) -> Published:
    """The event in a record of this topic.

    Raises:
        msgspec.DecodeError: it is none.
    """
    value: bytes | None = record.value
    if value is None and topic == _STATUS:
        camera = (record.key or b"").decode(errors="replace")
        text = event_text(REMOVED, msgspec.json.encode({"camera": camera}))
        return Published(topic, record.partition, record.offset, REMOVED, camera, text)
    try:
        found = _DECODERS[topic].decode(value or b"")
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8
        raise msgspec.DecodeError(str(error)) from None
    kind = KINDS[topic]
    text = event_text(kind, value or b"")
    place = (topic, record.partition, record.offset, kind)
    match found:
        case _Match():
            product = found.product.id if found.product else None
            return Published(*place, found.frame.camera, text, product, found.decision, found.score)
        case _Sighting():
            return Published(*place, found.camera, text, found.product.id, None, found.best.score)
        case _:
            return Published(*place, found.camera, text)


def event_text(kind: str, data: bytes) -> bytes:
    """An event in the event stream, up to its id; a line break inside JSON is only space."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(data.splitlines())
    return b"event: %b\ndata: %b\n" % (kind.encode(), data)


def id_line(event_id: bytes) -> bytes:
    """The end of an event in the event stream; also alone, when only the position moves on."""
    return b"id: %b\n\n" % event_id


@dataclass(frozen=True)
class Wanted:
    """Selects events; an empty field selects all.

    `product` and `min_score` are of matches and sightings, `decision` of matches: other events do not have them, so
    they pass. `sees`: whether the client may see a camera.
    """

    kinds: frozenset[str] = frozenset(KINDS)
    cameras: frozenset[str] = frozenset()
    products: frozenset[str] = frozenset()
    decisions: frozenset[str] = frozenset()
    min_score: float | None = None
    sees: Callable[[str], bool] | None = None

    def topic(self, topic: int) -> bool:
        """Whether the client wants something of this topic."""
        return KINDS[topic] in self.kinds

    def takes(self, event: Published) -> bool:
        """Whether the client gets this event."""
        if KINDS[event.topic] not in self.kinds or (self.cameras and event.camera not in self.cameras):
            return False
        if event.topic != _STATUS and not self._takes_product(event):
            return False
        return self.sees is None or self.sees(event.camera)

    def _takes_product(self, event: Published) -> bool:
        if self.products and event.product not in self.products:
            return False
        if self.decisions and event.topic == _MATCH and event.decision not in self.decisions:
            return False
        return self.min_score is None or (event.score is not None and event.score >= self.min_score)
