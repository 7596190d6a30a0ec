"""The metrics of an archive."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BATCH_BUCKETS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
_WRITE_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_DELAY_BUCKETS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)


class ArchiveMetrics:
    """The archive's metrics in one registry, all named `framematch_archive_…`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "framematch_archive_events",
            "Events by outcome: stored, repeated, refused",
            ["collection", "outcome", "reason"],
            registry=registry,
        )
        self.lost = Counter(
            "framematch_archive_events_lost", "Events that could not be fetched, by reason", ["reason"],
            registry=registry,
        )  # fmt: skip
        self.retries = Counter(
            "framematch_archive_writes_retried", "Batches that MongoDB did not take", registry=registry
        )
        self.batch_events = Histogram(
            "framematch_archive_batch_events", "Events in a batch", buckets=_BATCH_BUCKETS, registry=registry
        )
        self.write_seconds = Histogram(
            "framematch_archive_write_seconds", "Time to store a batch", buckets=_WRITE_BUCKETS_S, registry=registry
        )
        self.delay_seconds = Histogram(
            "framematch_archive_delay_seconds",
            "From an event's publication to MongoDB's acknowledgement",
            buckets=_DELAY_BUCKETS_S,
            registry=registry,
        )
        self.lag = Gauge(
            "framematch_archive_lag_events", "Events not yet fetched, by topic", ["topic"], registry=registry
        )
