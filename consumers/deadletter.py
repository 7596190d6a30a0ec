"""Dead letters: the original record, byte for byte, with headers that say where it came from and why."""

from dataclasses import dataclass, replace

from aiokafka import ConsumerRecord

from framematch.core.deadletters import Failure
from framematch.core.errors import BadFrameError

_ERROR_CHARACTERS = 500
_OWN_HEADERS_BYTES = 4_096  # more than our headers can take, topic name included


@dataclass(frozen=True)
class DeadLetter:
    """What is sent to the dead-letter topic; `value` is None when the original does not fit there."""

    value: bytes | None
    headers: list[tuple[str, bytes]]


def dead_letter(record: ConsumerRecord, stage: str, error: BadFrameError, *, max_bytes: int) -> DeadLetter:
    """The letter for `record`: its own headers followed by `deadletter_…` (stage, reason, error, coordinates, time).

    A record larger than `max_bytes` is named by its coordinates alone: a letter that the broker refuses would stop
    the partition.
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
    size = len(record.value or b"") + sum(len(name.encode()) + len(value or b"") for name, value in record.headers)
    if size + _OWN_HEADERS_BYTES > max_bytes:
        return DeadLetter(None, replace(failure, omitted_bytes=size).headers())
    return DeadLetter(record.value, [*record.headers, *failure.headers()])
