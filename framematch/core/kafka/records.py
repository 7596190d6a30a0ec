"""What goes to Kafka: one type for a record to send, whichever client sends it."""

from collections.abc import Sequence
from dataclasses import dataclass

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class ProducerRecord:
    """A record to send. `value` None is a tombstone; without `timestamp_ms` (since the epoch) the client stamps it.

    Records with the same `key` keep their order, as they go to one partition.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int | None = None
