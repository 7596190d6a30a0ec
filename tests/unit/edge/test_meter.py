"""One camera's account: the same figures for the status and for Prometheus."""

import pytest
from prometheus_client import CollectorRegistry

from edge.link.area import Counts
from edge.meter import CameraMeter
from edge.metrics import EdgeMetrics


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> EdgeMetrics:
    return EdgeMetrics(registry)


@pytest.fixture
def changes() -> list[str]:
    return []


@pytest.fixture
def meter(metrics: EdgeMetrics, changes: list[str]) -> CameraMeter:
    return CameraMeter("till-1", metrics.of("till-1"), lambda: changes.append("changed"), clock=lambda: 42.0)


def metric(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"framematch_edge_{name}", {"camera": "till-1", **labels})


def test_it_starts_offline(meter: CameraMeter) -> None:
    assert meter.read().closed_because == "starting"


def test_opening_again_counts_a_reconnect_and_opening_first_does_not(
    meter: CameraMeter, registry: CollectorRegistry
) -> None:
    meter.opened((640, 360))
    assert (meter.read().reconnects, metric(registry, "camera_up")) == (0, 1)
    meter.closed("stream ended")
    assert (meter.read().closed_because, metric(registry, "camera_up")) == ("stream ended", 0)
    meter.opened((1280, 720))
    assert (meter.read().reconnects, metric(registry, "reconnects_total")) == (1, 1)
    assert (meter.read().closed_because, meter.read().resolution) == (None, (1280, 720))


def test_each_change_of_the_source_is_announced(meter: CameraMeter, changes: list[str]) -> None:
    meter.opened((64, 64))
    meter.closed("stopped")
    assert len(changes) == 2


def test_what_a_process_counted_is_added_once(meter: CameraMeter, registry: CollectorRegistry) -> None:
    first = Counts(source_frames=30, sampled=5, still=1, captured=4, delivered=3, last_frame_ns=41_500_000_000)
    later = Counts(source_frames=60, sampled=10, still=2, captured=8, overrun=1, delivered=7, lag_us=250_000)
    meter.absorb(Counts(), first)
    meter.absorb(first, later)
    reading = meter.read()
    assert (reading.source_frames, reading.captured, reading.still) == (60, 8, 2)
    assert reading.drops == {"overrun": 1}
    assert (reading.last_frame_at_s, reading.lag_s) == (41.5, 0.25)
    assert metric(registry, "source_frames_total") == 60
    assert metric(registry, "frames_captured_total") == 8
    assert metric(registry, "frames_still_total") == 2
    assert metric(registry, "frames_dropped_total", stage="slot", reason="overrun") == 1
    assert metric(registry, "lag_seconds") == 0.25


def test_the_counts_of_a_camera_that_starts_anew_are_added_to_the_old_ones(meter: CameraMeter) -> None:
    meter.absorb(Counts(), Counts(source_frames=30, captured=4))
    meter.absorb(Counts(), Counts(source_frames=2, captured=1))
    assert (meter.read().source_frames, meter.read().captured) == (32, 5)


def test_publishing_dropping_and_spooling_are_counted(meter: CameraMeter, registry: CollectorRegistry) -> None:
    meter.published(1_000, 0.02)
    meter.dropped("spool", "full", 3)
    meter.spooled(7, 70_000)
    reading = meter.read()
    assert (reading.published, reading.drops) == (1, {"full": 3})
    assert (reading.spooled_frames, reading.spooled_bytes) == (7, 70_000)
    assert metric(registry, "frames_published_total") == 1
    assert metric(registry, "published_bytes_total") == 1_000
    assert metric(registry, "frames_dropped_total", stage="spool", reason="full") == 3
    assert metric(registry, "spooled_frames") == 7
    assert registry.get_sample_value("framematch_edge_publish_seconds_count") == 1


def test_a_camera_that_was_removed_is_neither_up_nor_down(
    meter: CameraMeter, metrics: EdgeMetrics, registry: CollectorRegistry
) -> None:
    meter.opened((64, 64))
    meter.published(1_000, 0.02)
    metrics.forget("till-1")
    assert metric(registry, "camera_up") is None
    assert metric(registry, "frames_published_total") == 1
