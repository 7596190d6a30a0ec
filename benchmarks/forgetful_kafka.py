"""A Kafka broker that frees its disk while a benchmark runs."""

from pathlib import Path

from stack.kafka import KafkaServer


class ForgetfulKafka(KafkaServer):
    """Frees a deleted topic's files at once, so that the pictures of one run are not written to disk during others.

    With `segment_bytes` it also frees records soon after their retention: Kafka deletes whole segments alone, and they
    are of a gigabyte unless told.
    """

    def __init__(self, folder: Path, segment_bytes: int | None = None) -> None:
        super().__init__(folder)
        self._segment_bytes = segment_bytes

    def configure(self) -> None:
        """See `KafkaServer`."""
        super().configure()
        lines = ["log.segment.delete.delay.ms=100"]
        if self._segment_bytes is not None:
            lines += [f"log.segment.bytes={self._segment_bytes}", "log.retention.check.interval.ms=5000"]
        with self._properties.open("a", encoding="utf-8") as properties:
            properties.write("".join(f"{line}\n" for line in lines))
