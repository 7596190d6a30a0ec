"""The metrics of the collection of pictures for review."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class ReviewMetrics:
    """All named `framematch_review_…`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter("framematch_review_events", "Match events that were read", registry=registry)
        self.pictures = Counter(
            "framematch_review_pictures",
            "Chosen regions by outcome: kept, repeated, gone, unreadable; and kept ones that were replaced or expired",
            ["outcome"],
            registry=registry,
        )
        self.lost = Counter(
            "framematch_review_events_lost", "Events that could not be fetched, by reason", ["reason"],
            registry=registry,
        )  # fmt: skip
        self.lag = Gauge("framematch_review_lag_events", "Events not yet fetched", registry=registry)
