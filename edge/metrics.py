"""The edge's Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class EdgeMetrics:
    """At any moment, frames captured = published + dropped + spooled + those in memory."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"framematch_edge_{name}", about, ("camera", *labels), registry=registry)

        def gauge(name: str, about: str) -> Gauge:
            return Gauge(f"framematch_edge_{name}", about, ("camera",), registry=registry)

        self.source_frames = counter("source_frames", "Frames that the source delivered")
        self.still = counter("frames_still", "Sampled frames left out because nothing moved")
        self.captured = counter("frames_captured", "Frames taken to be sent")
        self.published = counter("frames_published", "Frames acknowledged by Kafka")
        self.published_bytes = counter("published_bytes", "JPEG bytes acknowledged by Kafka")
        self.reconnects = counter("reconnects", "Times a source was opened again")
        self.up = gauge("camera_up", "1 while the source is open")
        self.spooled_frames = gauge("spooled_frames", "Frames that wait on disk for Kafka")
        self.spooled_bytes = gauge("spooled_bytes", "JPEG bytes that wait on disk for Kafka")
        self.lag_seconds = gauge("lag_seconds", "How far a stream lags behind its own clock")
        self.dropped = counter("frames_dropped", "Frames not published, by stage and reason", "stage", "reason")
        self.publish_seconds = Histogram(
            "framematch_edge_publish_seconds", "From grab to acknowledgement", buckets=_SECONDS, registry=registry
        )
        self.settings_valid = Gauge(
            "framematch_edge_settings_valid", "0 while the settings file is refused", registry=registry
        )
        self.settings_valid.set(1)

    def of(self, camera: str) -> "CameraMetrics":
        """The metrics of one camera."""
        return CameraMetrics(camera, self)

    def remove_source_gauges(self, camera: str) -> None:
        """Show no state of a source that was removed: it is neither up nor down. Counters stay."""
        for gauge in (self.up, self.lag_seconds):
            gauge.remove(camera)

    def remove_spool_gauges(self, camera: str) -> None:
        """Show no spool of a removed camera, once it is empty."""
        for gauge in (self.spooled_frames, self.spooled_bytes):
            gauge.remove(camera)


class CameraMetrics:
    """The metrics of one camera."""

    def __init__(self, camera: str, metrics: EdgeMetrics) -> None:
        self.source_frames = metrics.source_frames.labels(camera)
        self.still = metrics.still.labels(camera)
        self.captured = metrics.captured.labels(camera)
        self.published = metrics.published.labels(camera)
        self.published_bytes = metrics.published_bytes.labels(camera)
        self.reconnects = metrics.reconnects.labels(camera)
        self.up = metrics.up.labels(camera)
        self.spooled_frames = metrics.spooled_frames.labels(camera)
        self.spooled_bytes = metrics.spooled_bytes.labels(camera)
        self.lag_seconds = metrics.lag_seconds.labels(camera)
        self.publish_seconds = metrics.publish_seconds
        self._camera = camera
        self._dropped = metrics.dropped

    def dropped(self, stage: str, reason: str) -> Counter:
        """The counter of frames dropped at `stage` for `reason`."""
        return self._dropped.labels(self._camera, stage, reason)
