"""The metrics of a consumer."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from framematch.matching.serving.metrics import SnapshotMetrics

_STAGE_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_AGE_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 60)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)


class ConsumerMetrics:
    """The consumer's metrics in one registry, all named `framematch_consumer_…`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.frames = self._counter("frames", "Frames by outcome: answered, deadletter, skipped", "outcome", "reason")
        self.frames_lost = self._counter("frames_lost", "Frames that could not be fetched, by reason", "reason")
        self.offset_jumps = self._counter("offset_jumps", "Times that Kafka did not have the next offset", "reason")
        self.decisions = self._counter("decisions", "Regions by decision", "decision", "reason")
        self.still_regions = self._counter("still_regions", "Regions that reuse the decision of another frame")
        self.sightings = self._counter("sightings", "Sighting events by kind", "kind")
        self.shadow_regions = self._counter(
            "shadow_regions", "Regions for the shadow by outcome: compared, dropped, failed", "outcome"
        )
        self.inference_retries = self._counter("inference_retries", "Batches sent to Triton again", "reason")
        self.output_retries = self._counter("output_retries", "Times that output was sent again by a new producer")
        self.commits = self._counter("commits", "Commits of offsets, or transactions, by outcome", "outcome")
        self.kafka_outages = self._counter("kafka_outages", "Times that Kafka became unreachable")
        self.metadata = self._counter("metadata", "Matches by state of the product's metadata", "state")
        self.rebalances = self._counter("rebalances", "Times that partitions were revoked")
        self.batch_regions = self._histogram("batch_regions", "Regions in a batch", _BATCH_BUCKETS)
        self.stage_seconds = self._histogram("stage_seconds", "Time by stage", _STAGE_BUCKETS_S, "stage")
        self.age_seconds = self._histogram(
            "age_seconds", "From a frame's arrival at the edge to its acknowledged events", _AGE_BUCKETS_S
        )
        self.in_flight = self._gauge("in_flight_frames", "Fetched and not yet delivered")
        self.in_flight_bytes = self._gauge("in_flight_bytes", "Their size, decoded crops too")
        self.stale_cameras = self._gauge(
            "calibration_stale_cameras", "Cameras whose similarities are not those of the calibration"
        )
        self.snapshots = SnapshotMetrics(registry, "consumer")
        self.lag = self._gauge("lag_frames", "Frames in the partition not yet fetched", "partition")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"framematch_consumer_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"framematch_consumer_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"framematch_consumer_{name}", text, labels, buckets=buckets, registry=self._registry)
