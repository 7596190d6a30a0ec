"""The edge's Prometheus metrics. Those of cameras are read from their statistics at each scrape, all at one moment."""

from collections.abc import Callable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from edge.snapshot import StatsSnapshot

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_PREFIX = "framematch_edge_"

Value = Callable[[StatsSnapshot], float]
_COUNTERS: dict[str, tuple[str, Value]] = {
    "source_frames": ("Frames that the source delivered", lambda at: at.source_frames),
    "frames_still": ("Sampled frames left out because nothing moved", lambda at: at.still),
    "frames_captured": ("Frames taken to be sent", lambda at: at.captured),
    "frames_found": ("Frames of an earlier run that were on disk", lambda at: at.found),
    "frames_published": ("Frames acknowledged by Kafka", lambda at: at.published),
    "published_bytes": ("JPEG bytes acknowledged by Kafka", lambda at: at.published_bytes),
    "reconnects": ("Times a source was opened again", lambda at: at.reconnects),
}
_SOURCE_GAUGES: dict[str, tuple[str, Value]] = {
    "camera_up": ("1 while the source is open", lambda at: at.closed_because is None),
    "lag_seconds": ("How far a stream lags behind its own clock", lambda at: at.lag_s),
}
_FRAME_GAUGES: dict[str, tuple[str, Value]] = {
    "frames_in_memory": ("Frames on their way through the edge's memory", lambda at: at.in_memory),
    "spooled_frames": ("Frames that wait on disk for Kafka", lambda at: at.spooled_frames),
    "spooled_bytes": ("JPEG bytes that wait on disk for Kafka", lambda at: at.spooled_bytes),
}


class Exported(Protocol):
    """The statistics of a camera."""

    def snapshot(self) -> StatsSnapshot:
        """All values at this moment."""


class EdgeMetrics(Collector):
    """In every scrape, frames captured + found = published + dropped (without `corrupt`) + spooled + in memory.

    `refresh` is called before each scrape, to bring the statistics up to date. For the event loop alone.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.refresh: Callable[[], object] = lambda: None
        self.publish_seconds = Histogram(
            f"{_PREFIX}publish_seconds", "From grab to acknowledgement", buckets=_SECONDS, registry=registry
        )
        self.settings_valid = Gauge(
            f"{_PREFIX}settings_valid", "0 while the settings file is refused", registry=registry
        )
        self.settings_valid.set(1)
        self._cameras: dict[str, Exported] = {}
        self._without_source: set[str] = set()
        self._without_frames: set[str] = set()
        registry.register(self)

    def of(self, camera: str) -> "CameraMetrics":
        """The metrics of one camera."""
        return CameraMetrics(camera, self)

    def show(self, camera: str, stats: Exported) -> None:
        """Show the statistics of a camera from now on, with all gauges."""
        self._cameras[camera] = stats
        self._without_source.discard(camera)
        self._without_frames.discard(camera)

    def remove_source_gauges(self, camera: str) -> None:
        """Show no state of a source that was removed: it is neither up nor down. Counters stay."""
        self._without_source.add(camera)

    def remove_frame_gauges(self, camera: str) -> None:
        """Show no frames of a removed camera, once it has none."""
        self._without_frames.add(camera)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """All metrics of all cameras, from one snapshot of each."""
        self.refresh()
        cameras = {camera: stats.snapshot() for camera, stats in self._cameras.items()}
        for name, (about, value) in _COUNTERS.items():
            counter = CounterMetricFamily(_PREFIX + name, about, labels=["camera"])
            for camera, at in cameras.items():
                counter.add_metric([camera], value(at))
            yield counter
        dropped = CounterMetricFamily(
            f"{_PREFIX}frames_dropped",
            "Frames not published, by stage and reason",
            labels=["camera", "stage", "reason"],
        )
        for camera, at in cameras.items():
            for (stage, reason), count in at.drops_by_stage.items():
                dropped.add_metric([camera, stage, reason], count)
        yield dropped
        for gauges, hidden in ((_SOURCE_GAUGES, self._without_source), (_FRAME_GAUGES, self._without_frames)):
            for name, (about, value) in gauges.items():
                gauge = GaugeMetricFamily(_PREFIX + name, about, labels=["camera"])
                for camera, at in cameras.items():
                    if camera not in hidden:
                        gauge.add_metric([camera], value(at))
                yield gauge


class CameraMetrics:
    """How one camera's statistics become metrics."""

    def __init__(self, camera: str, metrics: EdgeMetrics) -> None:
        self.publish_seconds = metrics.publish_seconds
        self._camera = camera
        self._metrics = metrics

    def show(self, stats: Exported) -> None:
        """Show these statistics from now on."""
        self._metrics.show(self._camera, stats)
