"""From the records of the topics to what is stored of them. No I/O."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, get_args

import bson
import msgspec
from aiokafka import ConsumerRecord
from bson.errors import BSONError

from framematch.core.events import (
    LOG_SCHEMA,
    MATCH_SCHEMA,
    SIGHTING_SCHEMA,
    LogEvent,
    MatchEvent,
    SightingEvent,
    decode,
)
from framematch.core.kafka.topics import Topics
from framematch.core.timestamps import from_rfc3339

CollectionName = Literal["matches", "sightings", "logs"]
COLLECTIONS: Final[tuple[CollectionName, ...]] = get_args(CollectionName)
TIMES: Final[Mapping[CollectionName, str]] = {"matches": "captured", "sightings": "captured", "logs": "logged"}
"""The time by which a collection is sorted: `captured_at` as a date, `captured_us` exactly."""

Reason = Literal["not_an_event", "newer_schema", "id", "too_large", "refused"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_BYTES = 16 * 2**20 - 2**16  # MongoDB's limit of a document, less the other fields
_MAX_ID = 200  # characters; ours have 36
_KINDS = ("started", "updated", "ended")
_ENDED = 2**62  # an end is the last state, whenever it comes


class RefusedRecordError(Exception):
    """A record that is not stored. `reason` is a short, stable label."""

    def __init__(self, reason: Reason, error: str) -> None:
        super().__init__(error)
        self.reason = reason


@dataclass(frozen=True)
class Place:
    """Where a record is in Kafka."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True)
class Entry:
    """What is stored of one record. `version` orders the states of a sighting; None for what has one state.

    `fields` are those of the document, without `_id` and what the writer adds. `timestamp_ms` is the record's.
    """

    collection: CollectionName
    id: str
    version: int | None
    fields: dict[str, Any]
    place: Place
    timestamp_ms: int


def entry_of(record: ConsumerRecord, topics: Topics) -> Entry:
    """What is stored of `record`, which is of one of our topics.

    Raises:
        RefusedRecordError: it is no event of its topic, or cannot be a document.
    """
    value = record.value or b""
    kind = _BY_TOPIC[record.topic.removeprefix(topics.matches.removesuffix("matches"))]
    try:
        text = value.decode()
        message = decode(value, kind.message)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refusal(value, kind.schema, str(error)) from None
    identity, version, fields = kind.stored(message)
    if not 0 < len(identity) <= _MAX_ID:
        raise RefusedRecordError("id", f"an id of {len(identity)} characters: 1 to {_MAX_ID} are allowed")
    fields["event"] = text
    try:
        size = len(bson.encode(fields))
    except (BSONError, OverflowError) as error:
        raise RefusedRecordError("refused", f"it cannot be a document: {error}") from None
    if size > _MAX_BYTES:
        raise RefusedRecordError("too_large", f"a document of {size} bytes: MongoDB stores at most 16 MiB")
    return Entry(kind.collection, identity, version, fields, place_of(record), record.timestamp)


def place_of(record: ConsumerRecord) -> Place:
    """Where the record is."""
    return Place(record.topic, record.partition, record.offset)


def newest(entries: Iterable[Entry]) -> list[Entry]:
    """Of the entries with the same id in a collection, only the newest state, or the first of equal ones."""
    found: dict[tuple[CollectionName, str], Entry] = {}
    for entry in entries:
        other = found.get(key := (entry.collection, entry.id))
        if other is None or (entry.version or 0) > (other.version or 0):
            found[key] = entry
    return list(found.values())


@dataclass(frozen=True)
class _Kind:
    collection: CollectionName
    schema: str
    message: type[Any]
    stored: Callable[[Any], tuple[str, int | None, dict[str, Any]]]


def _match(event: MatchEvent) -> tuple[str, None, dict[str, Any]]:
    return (
        event.id,
        None,
        {
            **_time("captured", event.frame.captured_at),
            "camera": event.frame.camera,
            "product": event.product.id if event.product else None,
            "decision": event.decision,
            "score": event.score,
            "snapshot": event.snapshot,
        },
    )


def _sighting(event: SightingEvent) -> tuple[str, int, dict[str, Any]]:
    rank = from_rfc3339(event.last_seen_at) * len(_KINDS) + _KINDS.index(event.kind)
    return (
        event.sighting,
        rank + _ENDED if event.kind == "ended" else rank,
        {
            **_time("captured", event.started_at),
            "camera": event.camera,
            "product": event.product.id,
            "kind": event.kind,
            "score": event.best.score,
            "snapshot": event.snapshot,
        },
    )


def _log(event: LogEvent) -> tuple[str, None, dict[str, Any]]:
    camera = event.fields.get("camera")
    return (
        event.id,
        None,
        {
            **_time("logged", event.at),
            "service": event.service,
            "host": event.host,
            "level": event.level,
            "name": event.event,
            "camera": camera if isinstance(camera, str) else None,
        },
    )


_BY_TOPIC: dict[str, _Kind] = {
    "matches": _Kind("matches", MATCH_SCHEMA, MatchEvent, _match),
    "sightings": _Kind("sightings", SIGHTING_SCHEMA, SightingEvent, _sighting),
    "logs": _Kind("logs", LOG_SCHEMA, LogEvent, _log),
}


def _time(name: str, text: str) -> dict[str, Any]:
    """The time as a date, which MongoDB keeps to milliseconds, and exactly."""
    at_us = from_rfc3339(text)
    return {f"{name}_at": _EPOCH + timedelta(microseconds=at_us), f"{name}_us": at_us}


def _refusal(value: bytes, schema: str, error: str) -> RefusedRecordError:
    """A newer version of our event is told from what is none: for it, a newer archive is needed."""
    try:
        found = msgspec.json.decode(value, type=dict[str, Any]).get("schema")
    except (ValueError, RecursionError):
        found = None
    name = schema.partition(".")[0]
    if isinstance(found, str) and found != schema and found.partition(".v")[0] == name:
        return RefusedRecordError("newer_schema", f"an event of {found[:40]!r}, this archive stores {schema}")
    return RefusedRecordError("not_an_event", error)
