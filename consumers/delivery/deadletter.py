"""Dead letters: the original record, byte for byte, with headers that say where it came from and why it failed."""

from dataclasses import replace

from aiokafka import ConsumerRecord

from framematch.core.deadletters import Failure
from framematch.core.errors import BadFrameError
from framematch.core.kafka.records import ProducerRecord

_MAX_ERROR_CHARACTERS = 500
_OWN_HEADERS_BYTES = 4_096  # more than our headers can take, topic name included
_HEADER_OVERHEAD_BYTES = 10  # what Kafka adds to each header: two lengths
_MAX_KEPT_KEY_BYTES = 1_024  # of the key of a record that does not fit


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
        timestamp_ms=record.timestamp,
    )
    key, value, headers = record.key, record.value, [*record.headers]
    size = len(value or b"") + sum(len(name.encode()) + len(text or b"") for name, text in headers)
    if len(key or b"") + size + _HEADER_OVERHEAD_BYTES * len(headers) + _OWN_HEADERS_BYTES > max_bytes:
        failure = replace(failure, omitted_bytes=size)
        key, value, headers = key and key[:_MAX_KEPT_KEY_BYTES], None, []
    if key is None and value is None:
        value = b""  # aiokafka refuses a record that has neither
    return ProducerRecord(topic, key, value, headers + failure.headers())
