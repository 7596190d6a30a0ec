"""The edge's Prometheus metrics."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True)
class CameraMetrics:
    """The metrics of one camera."""

    camera: str
    source_frames: Counter
    still: Counter
    captured: Counter
    published: Counter
    published_bytes: Counter
    reconnects: Counter
    up: Gauge
    spooled_frames: Gauge
    spooled_bytes: Gauge
    lag_seconds: Gauge
    publish_seconds: Histogram
    dropped_total: Counter

    def dropped(self, stage: str, reason: str) -> Counter:
        """The counter of frames dropped at `stage` for `reason`."""
        return self.dropped_total.labels(self.camera, stage, reason)


class EdgeMetrics:
    """At any moment, frames captured = published + dropped + spooled + those in memory."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"framematch_edge_{name}", about, ("camera", *labels), registry=registry)

        def gauge(name: str, about: str) -> Gauge:
            return Gauge(f"framematch_edge_{name}", about, ("camera",), registry=registry)

        self._source_frames = counter("source_frames", "Frames that the source delivered")
        self._still = counter("frames_still", "Sampled frames left out because nothing moved")
        self._captured = counter("frames_captured", "Frames taken to be sent")
        self._published = counter("frames_published", "Frames acknowledged by Kafka")
        self._published_bytes = counter("published_bytes", "JPEG bytes acknowledged by Kafka")
        self._reconnects = counter("reconnects", "Times a source was opened again")
        self._up = gauge("camera_up", "1 while the source is open")
        self._spooled_frames = gauge("spooled_frames", "Frames that wait on disk for Kafka")
        self._spooled_bytes = gauge("spooled_bytes", "JPEG bytes that wait on disk for Kafka")
        self._lag_seconds = gauge("lag_seconds", "How far a stream lags behind its own clock")
        self._dropped = counter("frames_dropped", "Frames not published, by stage and reason", "stage", "reason")
        self._publish_seconds = Histogram(
            "framematch_edge_publish_seconds", "From grab to acknowledgement", buckets=_SECONDS, registry=registry
        )
        self.settings_valid = Gauge(
            "framematch_edge_settings_valid", "0 while the settings file is refused", registry=registry
        )
        self.settings_valid.set(1)

    def of(self, camera: str) -> CameraMetrics:
        """The metrics of one camera."""
        return CameraMetrics(
            camera=camera,
            source_frames=self._source_frames.labels(camera),
            still=self._still.labels(camera),
            captured=self._captured.labels(camera),
            published=self._published.labels(camera),
            published_bytes=self._published_bytes.labels(camera),
            reconnects=self._reconnects.labels(camera),
            up=self._up.labels(camera),
            spooled_frames=self._spooled_frames.labels(camera),
            spooled_bytes=self._spooled_bytes.labels(camera),
            lag_seconds=self._lag_seconds.labels(camera),
            publish_seconds=self._publish_seconds,
            dropped_total=self._dropped,
        )

    def remove_source_gauges(self, camera: str) -> None:
        """Show no state of a source that was removed: it is neither up nor down. Counters stay."""
        for gauge in (self._up, self._lag_seconds):
            gauge.remove(camera)

    def remove_spool_gauges(self, camera: str) -> None:
        """Show no spool of a removed camera, once it is empty."""
        for gauge in (self._spooled_frames, self._spooled_bytes):
            gauge.remove(camera)
