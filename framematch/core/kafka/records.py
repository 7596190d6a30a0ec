"""The record to send, for every producer."""

from collections.abc import Sequence
from dataclasses import dataclass

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class ProducerRecord:
    """A record to send. `value` None is a tombstone; without `timestamp_ms` (since the epoch) it gets the current time.

    Records with the same `key` go to the same partition and keep their order.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int | None = None
