"""Dead letters: the original record, byte for byte, with headers that say where it came from and why."""

from dataclasses import dataclass

from aiokafka import ConsumerRecord

from framematch.core.errors import BadFrameError

_ERROR_CHARACTERS = 500
_OWN_HEADERS_BYTES = 4_096  # more than our headers can take, topic name included


@dataclass(frozen=True)
class DeadLetter:
    """What is sent to the dead-letter topic; `value` is None when the original does not fit there."""

    value: bytes | None
    headers: list[tuple[str, bytes]]


def dead_letter(record: ConsumerRecord, stage: str, error: BadFrameError, *, max_bytes: int) -> DeadLetter:
    """The letter for `record`: its own headers followed by `deadletter_…` (stage, reason, error, coordinates).

    A record larger than `max_bytes` is named by its coordinates alone: a letter that the broker refuses would stop
    the partition.
    """
    why = {
        "deadletter_stage": stage,
        "deadletter_reason": error.reason,
        "deadletter_error": error.message[:_ERROR_CHARACTERS],
        "deadletter_topic": record.topic,
        "deadletter_partition": str(record.partition),
        "deadletter_offset": str(record.offset),
    }
    own = [(name, value.encode()) for name, value in why.items()]
    size = len(record.value or b"") + sum(len(name.encode()) + len(value or b"") for name, value in record.headers)
    if size + _OWN_HEADERS_BYTES > max_bytes:
        return DeadLetter(None, [*own, ("deadletter_omitted_bytes", str(size).encode())])
    return DeadLetter(record.value, [*record.headers, *own])
