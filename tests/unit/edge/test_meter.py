"""One camera's account: the same figures for the status and for Prometheus."""

import pytest
from prometheus_client import CollectorRegistry

from edge.meter import CameraMeter
from edge.metrics import EdgeMetrics


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def changes() -> list[str]:
    return []


@pytest.fixture
def meter(registry: CollectorRegistry, changes: list[str]) -> CameraMeter:
    return CameraMeter("till-1", EdgeMetrics(registry), lambda: changes.append("changed"), clock=lambda: 42.0)


def metric(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"framematch_edge_{name}", {"camera": "till-1", **labels})


def test_it_starts_offline(meter: CameraMeter) -> None:
    assert meter.read().closed_because == "starting"


def test_opening_again_counts_a_reconnect_and_opening_first_does_not(
    meter: CameraMeter, registry: CollectorRegistry
) -> None:
    meter.opened()
    assert (meter.read().reconnects, metric(registry, "camera_up")) == (0, 1)
    meter.closed("stream ended")
    assert (meter.read().closed_because, metric(registry, "camera_up")) == ("stream ended", 0)
    meter.opened()
    assert (meter.read().reconnects, metric(registry, "reconnects_total")) == (1, 1)


def test_each_change_of_the_source_is_told(meter: CameraMeter, changes: list[str]) -> None:
    meter.opened()
    meter.closed("ended")
    meter.delivered()
    assert changes == ["changed", "changed"]


def test_frames_are_counted_in_both_places(meter: CameraMeter, registry: CollectorRegistry) -> None:
    meter.delivered()
    meter.captured()
    meter.published(1_000, 0.05)
    meter.dropped("slot", "overrun")
    meter.dropped("slot", "overrun")
    reading = meter.read()
    assert (reading.source_frames, reading.published, reading.drops) == (1, 1, {"overrun": 2})
    assert reading.last_frame_at_s == 42.0
    assert metric(registry, "frames_captured_total") == 1
    assert metric(registry, "frames_published_total") == 1
    assert metric(registry, "published_bytes_total") == 1_000
    assert metric(registry, "frames_dropped_total", stage="slot", reason="overrun") == 2
    assert registry.get_sample_value("framematch_edge_publish_seconds_count") == 1


def test_after_closing_for_good_nothing_changes_the_state(meter: CameraMeter) -> None:
    meter.opened()
    meter.closed("stopped", for_good=True)
    meter.closed("no frame for 5 s")
    meter.opened()
    assert (meter.read().closed_because, meter.read().reconnects) == ("stopped", 0)
