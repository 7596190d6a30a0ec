"""Dead letters: the original record, byte for byte, with headers that say where it came from and why."""

from aiokafka import ConsumerRecord

from framematch.core.errors import BadFrameError

_ERROR_CHARACTERS = 500


def deadletter_headers(record: ConsumerRecord, stage: str, error: BadFrameError) -> list[tuple[str, bytes]]:
    """The record's own headers followed by `deadletter_…`: stage, reason, error and its original coordinates."""
    why = {
        "deadletter_stage": stage,
        "deadletter_reason": error.reason,
        "deadletter_error": error.message[:_ERROR_CHARACTERS],
        "deadletter_topic": record.topic,
        "deadletter_partition": str(record.partition),
        "deadletter_offset": str(record.offset),
    }
    return [*record.headers, *((name, value.encode()) for name, value in why.items())]
