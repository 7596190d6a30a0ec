"""Reports the records that are not stored: counted all, and logged with their places."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from framematch.archive.entries import Place, Reason
from framematch.archive.metrics import ArchiveMetrics

log = structlog.get_logger()

_MAX_LOGGED = 10  # of a batch


@dataclass(frozen=True)
class Refusal:
    """A record that is not stored, and why."""

    place: Place
    reason: Reason
    error: str


def report(refusals: Sequence[Refusal], metrics: ArchiveMetrics) -> None:
    """Count and log them; of many in a batch only the first ones are logged."""
    for one in refusals:
        metrics.events.labels(one.place.topic.rpartition(".")[2], "refused", one.reason).inc()
    for one in refusals[:_MAX_LOGGED]:
        log.error(
            "event_not_archived",
            topic=one.place.topic,
            partition=one.place.partition,
            offset=one.place.offset,
            reason=one.reason,
            error=one.error,
            in_batch=len(refusals),
        )
