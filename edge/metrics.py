"""The edge's Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class EdgeMetrics:
    """At any moment, frames captured = published + dropped + those in the slot, being encoded or unacknowledged."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"framematch_edge_{name}", about, ("camera", *labels), registry=registry)

        self.source_frames = counter("source_frames", "Frames that the source delivered")
        self.captured = counter("frames_captured", "Frames taken by the sampler")
        self.published = counter("frames_published", "Frames acknowledged by Kafka")
        self.published_bytes = counter("published_bytes", "JPEG bytes acknowledged by Kafka")
        self.dropped = counter("frames_dropped", "Frames taken and not published", "stage", "reason")
        self.reconnects = counter("reconnects", "Times a source was opened again")
        self.camera_up = Gauge(
            "framematch_edge_camera_up", "1 while the source is open", ("camera",), registry=registry
        )
        self.publish_seconds = Histogram(
            "framematch_edge_publish_seconds", "From capture to acknowledgement", buckets=_SECONDS, registry=registry
        )
