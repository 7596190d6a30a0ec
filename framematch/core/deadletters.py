"""The dead letter: a record that could not be handled, byte for byte, with headers that say why and where it lay."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import msgspec
from aiokafka import ConsumerRecord

PREFIX = "deadletter_"
"""What the names of our headers begin with; all other headers are the record's own."""

Headers = tuple[tuple[str, bytes], ...]


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

    `position` is the letter's own partition and offset, `at_ms` when it was written (milliseconds since the epoch).
    """

    position: tuple[int, int]
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    failure: Failure

    @property
    def camera(self) -> str:
        """The key as text."""
        return (self.key or b"").decode(errors="replace")

    @property
    def whole(self) -> bool:
        """Whether the letter has the record's bytes, and it can be sent again."""
        return self.failure.omitted_bytes is None

    @property
    def size_bytes(self) -> int:
        """Of the record that failed; without its bytes, with its headers."""
        return len(self.value or b"") if self.failure.omitted_bytes is None else self.failure.omitted_bytes


def parse_letter(record: ConsumerRecord) -> Letter:
    """The letter in a record of the topic.

    Raises:
        msgspec.ValidationError: it has not the headers of a dead letter.
    """
    return Letter(
        position=(record.partition, record.offset),
        at_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=tuple((name, value) for name, value in record.headers if not name.startswith(PREFIX)),
        failure=_failure(record.headers),
    )


def _failure(headers: Iterable[tuple[str, bytes | None]]) -> Failure:
    # A record that was copied with such headers and failed again has them twice: the last ones are of this letter.
    named = {name.removeprefix(PREFIX): value for name, value in headers if name.startswith(PREFIX)}
    texts = {name: (value or b"").decode(errors="replace") for name, value in named.items()}
    return msgspec.convert(texts, Failure, strict=False)
