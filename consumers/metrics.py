"""What a consumer counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_STAGE_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_AGE_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 60)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)


class ConsumerMetrics:
    """The consumer's metrics in one registry, all named `framematch_consumer_…`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        prefix = "framematch_consumer_"
        self.frames = Counter(
            f"{prefix}frames",
            "Frames by outcome: answered, deadletter, skipped",
            ["outcome", "reason"],
            registry=registry,
        )
        self.decisions = Counter(f"{prefix}decisions", "Regions by decision", ["decision"], registry=registry)
        self.batch_frames = Histogram(
            f"{prefix}batch_frames", "Frames in a batch", buckets=_BATCH_BUCKETS, registry=registry
        )
        self.stage_seconds = Histogram(
            f"{prefix}stage_seconds", "Time of a batch by stage", ["stage"], buckets=_STAGE_BUCKETS_S, registry=registry
        )
        self.age_seconds = Histogram(
            f"{prefix}age_seconds",
            "From capture to acknowledged match event",
            buckets=_AGE_BUCKETS_S,
            registry=registry,
        )
        self.in_flight = Gauge(f"{prefix}in_flight_frames", "Fetched and not yet committable", registry=registry)
        self.lag = Gauge(
            f"{prefix}lag_frames", "Frames in the partition not yet fetched", ["partition"], registry=registry
        )
        self.inference_retries = Counter(
            f"{prefix}inference_retries", "Batches sent to Triton again", registry=registry
        )
