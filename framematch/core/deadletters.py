"""The dead letter: a record that could not be handled, byte for byte, with headers that say why and where it lay."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Self

import msgspec
from aiokafka import ConsumerRecord

PREFIX = "deadletter_"
"""What the names of our headers begin with; all other headers are the record's own."""

Headers = tuple[tuple[str, bytes], ...]
Position = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True)
class Failure:
    """Why a record could not be handled: the headers `deadletter_…`, named as the fields.

    `topic`, `partition`, `offset` and `timestamp_ms` are those of the record. `omitted_bytes` is its size where it does
    not fit the topic; then the letter has neither its value nor its headers.
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
        """As a letter carries it."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return [(PREFIX + name, str(value).encode()) for name, value in named.items() if value is not None]


@dataclass(frozen=True)
class Letter:
    """A record of the topic `.deadletter`: `key`, `value` and `headers` are those of the record that failed.

    `position` is the letter's own, `at_ms` when it was written (milliseconds since the epoch). `size_bytes` is that of
    the record's value, or of its headers too where they were omitted.
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
        """Whether the letter has the record's bytes, so that it can be sent again."""
        return self.failure.omitted_bytes is None

    def without_value(self) -> Self:
        """All but the bytes, to be kept in memory."""
        return replace(self, value=None)


def parse_letter(record: ConsumerRecord) -> Letter:
    """The letter in a record of the topic.

    Raises:
        msgspec.ValidationError: it has not the headers of a dead letter.
    """
    failure = _failure(record.headers)
    return Letter(
        position=(record.partition, record.offset),
        at_ms=record.timestamp,
        key=record.key,
        value=record.value,
        size_bytes=len(record.value or b"") if failure.omitted_bytes is None else failure.omitted_bytes,
        headers=tuple((name, value) for name, value in record.headers if not name.startswith(PREFIX)),
        failure=failure,
    )


def _failure(headers: Iterable[tuple[str, bytes | None]]) -> Failure:
    # A record that was copied with such headers and failed again has them twice: the last ones are of this letter.
    named = {name.removeprefix(PREFIX): value for name, value in headers if name.startswith(PREFIX)}
    texts = {name: (value or b"").decode(errors="replace") for name, value in named.items()}
    return msgspec.convert(texts, Failure, strict=False)
