"""The dead letter: a record that could not be processed, byte for byte, with headers for the reason and its origin."""

from dataclasses import dataclass, fields, replace
from typing import Self

import msgspec
from aiokafka import ConsumerRecord

from framematch.core.errors import BadFrameError
from framematch.core.kafka.records import Headers, ProducerRecord

PREFIX = "deadletter_"
"""Our headers start with it; all other headers are the record's own."""

Position = tuple[int, int]
"""Partition and offset."""

_MAX_ERROR_CHARACTERS = 500
_OWN_HEADERS_BYTES = 4_096  # more than our headers can take, topic name included
_HEADER_OVERHEAD_BYTES = 10  # what Kafka adds to each header: two lengths
_MAX_KEPT_KEY_BYTES = 1_024  # of the key of a record that does not fit


@dataclass(frozen=True)
class Failure:
    """Why a record could not be processed: the headers `deadletter_…`, named as the fields.

    `topic`, `partition`, `offset` and `timestamp_ms` are those of the record, which may have no timestamp.
    `omitted_bytes` is the size of a record that was too large for the topic; its dead letter has neither value nor
    headers of the record.
    """

    stage: str
    reason: str
    error: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None = None
    omitted_bytes: int | None = None

    def headers(self) -> list[tuple[str, bytes]]:
        """The headers of the dead letter."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return [(PREFIX + name, str(value).encode()) for name, value in named.items() if value is not None]


@dataclass(frozen=True)
class DeadLetter:
    """A record of the topic `.deadletter`: `key`, `value` and `headers` are those of the record that failed.

    `position` is the dead letter's own, `at_ms` the time of its creation (milliseconds since the epoch). `size_bytes`
    is the size of the record's value, and of its headers too where they were omitted.
    """

    position: Position
    at_ms: int
    key: bytes | None
    value: bytes | None
    size_bytes: int
    headers: Headers
    failure: Failure

    @property
    def camera(self) -> str:
        """The key as text."""
        return (self.key or b"").decode(errors="replace")

    @property
    def whole(self) -> bool:
        """Whether it has the record's bytes, so that the record can be replayed."""
        return self.failure.omitted_bytes is None

    def original(self, topic: str) -> ProducerRecord:
        """The record that failed, to be sent to `topic` again."""
        return ProducerRecord(topic, self.key, self.value, self.headers, self.failure.timestamp_ms)

    def without_value(self) -> Self:
        """A copy without the value, which takes little memory."""
        return replace(self, value=None)


def dead_letter(
    record: ConsumerRecord, stage: str, error: BadFrameError, *, topic: str, max_bytes: int
) -> ProducerRecord:
    """The dead letter of `record`: its own headers, then `deadletter_…` (stage, reason, error, position, time).

    A record larger than `max_bytes` is reduced to the start of its key and its position: a dead letter that the broker
    refuses would block the partition.
    """
    failure = Failure(
        stage=stage,
        reason=error.reason,
        error=error.message[:_MAX_ERROR_CHARACTERS],
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=_known(record.timestamp),
    )
    key, value, headers = record.key, record.value, [*record.headers]
    size = len(value or b"") + sum(len(name.encode()) + len(text or b"") for name, text in headers)
    if len(key or b"") + size + _HEADER_OVERHEAD_BYTES * len(headers) + _OWN_HEADERS_BYTES > max_bytes:
        failure = replace(failure, omitted_bytes=size)
        key, value, headers = key and key[:_MAX_KEPT_KEY_BYTES], None, []
    if key is None and value is None:
        value = b""  # aiokafka refuses a record that has neither
    return ProducerRecord(topic, key, value, headers + failure.headers())


def parse_dead_letter(record: ConsumerRecord) -> DeadLetter:
    """The dead letter in a record of the topic.

    Raises:
        msgspec.ValidationError: the headers are not those of a dead letter.
    """
    # A dead letter that was copied to the frames topic and failed again has our headers twice: the last ones count.
    named = {name.removeprefix(PREFIX): value for name, value in record.headers if name.startswith(PREFIX)}
    texts = {name: (value or b"").decode(errors="replace") for name, value in named.items()}
    failure = msgspec.convert(texts, Failure, strict=False)
    failure = replace(failure, timestamp_ms=_known(failure.timestamp_ms))
    return DeadLetter(
        position=(record.partition, record.offset),
        at_ms=record.timestamp,
        key=record.key,
        value=record.value,
        size_bytes=len(record.value or b"") if failure.omitted_bytes is None else failure.omitted_bytes,
        headers=tuple((name, value) for name, value in record.headers if not name.startswith(PREFIX)),
        failure=failure,
    )


def _known(timestamp_ms: int | None) -> int | None:
    """None for the -1 by which Kafka says that a record has no timestamp."""
    return None if timestamp_ms is None or timestamp_ms < 0 else timestamp_ms
