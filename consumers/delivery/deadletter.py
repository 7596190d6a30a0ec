"""Dead letters: the original record, byte for byte, with headers that say where it came from and why."""

from dataclasses import dataclass, replace

from aiokafka import ConsumerRecord

from framematch.core.deadletters import Failure
from framematch.core.errors import BadFrameError

_ERROR_CHARACTERS = 500
_OWN_HEADERS_BYTES = 4_096  # more than our headers can take, topic name included
_HEADER_BYTES = 10  # what Kafka adds to each header: two lengths
_KEY_BYTES = 1_024  # left of the key of a record that does not fit


@dataclass(frozen=True)
class DeadLetter:
    """What is sent to the dead-letter topic; of a record that does not fit there, the start of the key alone."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def dead_letter(record: ConsumerRecord, stage: str, error: BadFrameError, *, max_bytes: int) -> DeadLetter:
    """The letter for `record`: its own headers followed by `deadletter_…` (stage, reason, error, coordinates, time).

    A record larger than `max_bytes` is named by its coordinates alone: a letter that cannot be sent would stop the
    partition.
    """
    failure = Failure(
        stage=stage,
        reason=error.reason,
        error=error.message[:_ERROR_CHARACTERS],
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
    )
    key, value, headers = record.key, record.value, [*record.headers]
    size = len(value or b"") + sum(len(name.encode()) + len(text or b"") for name, text in headers)
    if len(key or b"") + size + _HEADER_BYTES * len(headers) + _OWN_HEADERS_BYTES > max_bytes:
        failure = replace(failure, omitted_bytes=size)
        key, value, headers = key and key[:_KEY_BYTES], None, []
    if key is None and value is None:
        value = b""  # the client sends no record that has neither
    return DeadLetter(key, value, headers + failure.headers())
