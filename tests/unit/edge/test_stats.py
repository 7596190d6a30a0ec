"""One camera's statistics: the status and Prometheus show the same values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from edge.link.shared_buffer import Counts
from edge.metrics import EdgeMetrics
from edge.stats import CameraStats


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
def stats(metrics: EdgeMetrics, changes: list[str]) -> CameraStats:
    return CameraStats("till-1", metrics.of("till-1"), lambda: changes.append("changed"), clock=lambda: 42.0)


def metric(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"framematch_edge_{name}", {"camera": "till-1", **labels})


def test_it_starts_offline(stats: CameraStats) -> None:
    assert stats.snapshot().closed_because == "starting"


def test_opening_again_counts_a_reconnect_and_opening_first_does_not(
    stats: CameraStats, registry: CollectorRegistry
) -> None:
    stats.opened((640, 360))
    assert (stats.snapshot().reconnects, metric(registry, "camera_up")) == (0, 1)
    stats.closed("stream ended")
    assert (stats.snapshot().closed_because, metric(registry, "camera_up")) == ("stream ended", 0)
    stats.opened((1280, 720))
    assert (stats.snapshot().reconnects, metric(registry, "reconnects_total")) == (1, 1)
    assert (stats.snapshot().closed_because, stats.snapshot().resolution) == (None, (1280, 720))


def test_on_change_is_called_when_the_source_opens_or_closes(stats: CameraStats, changes: list[str]) -> None:
    stats.opened((64, 64))
    stats.closed("stopped")
    assert len(changes) == 2


def test_the_counts_of_a_process_are_added_once(stats: CameraStats, registry: CollectorRegistry) -> None:
    first = Counts(source_frames=30, sampled=5, still=1, captured=4, delivered=3, last_frame_ns=41_500_000_000)
    later = Counts(source_frames=60, sampled=10, still=2, captured=8, overrun=1, delivered=7, lag_us=250_000)
    stats.add_counts(Counts(), first)
    stats.add_counts(first, later)
    snapshot = stats.snapshot()
    assert (snapshot.source_frames, snapshot.captured, snapshot.still) == (60, 8, 2)
    assert snapshot.drops == {"overrun": 1}
    assert (snapshot.last_frame_at_s, snapshot.lag_s) == (41.5, 0.25)
    assert metric(registry, "source_frames_total") == 60
    assert metric(registry, "frames_captured_total") == 8
    assert metric(registry, "frames_still_total") == 2
    assert metric(registry, "frames_dropped_total", stage="slot", reason="overrun") == 1
    assert metric(registry, "lag_seconds") == 0.25


def test_the_counts_of_a_restarted_camera_are_added_to_the_old_ones(stats: CameraStats) -> None:
    stats.add_counts(Counts(), Counts(source_frames=30, captured=4))
    stats.add_counts(Counts(), Counts(source_frames=2, captured=1))
    assert (stats.snapshot().source_frames, stats.snapshot().captured) == (32, 5)


def test_publishing_dropping_and_spooling_are_counted(stats: CameraStats, registry: CollectorRegistry) -> None:
    stats.published(1_000, 0.02)
    stats.dropped("spool", "full", 3)
    stats.set_spooled(7, 70_000)
    snapshot = stats.snapshot()
    assert (snapshot.published, snapshot.drops) == (1, {"full": 3})
    assert (snapshot.spooled_frames, snapshot.spooled_bytes) == (7, 70_000)
    assert metric(registry, "frames_published_total") == 1
    assert metric(registry, "published_bytes_total") == 1_000
    assert metric(registry, "frames_dropped_total", stage="spool", reason="full") == 3
    assert metric(registry, "spooled_frames") == 7
    assert registry.get_sample_value("framematch_edge_publish_seconds_count") == 1


def test_a_removed_camera_shows_its_spool_until_that_is_empty_and_keeps_its_counters(
    stats: CameraStats, metrics: EdgeMetrics, registry: CollectorRegistry
) -> None:
    stats.opened((64, 64))
    stats.published(1_000, 0.02)
    stats.set_spooled(7, 70_000)
    metrics.remove_source_gauges("till-1")
    assert (metric(registry, "camera_up"), metric(registry, "lag_seconds")) == (None, None)
    assert metric(registry, "spooled_frames") == 7
    metrics.remove_frame_gauges("till-1")
    assert (metric(registry, "spooled_frames"), metric(registry, "spooled_bytes")) == (None, None)
    assert metric(registry, "frames_published_total") == 1


counts = st.integers(0, 5)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("captured"), counts),
            st.tuples(st.just("found"), counts),
            st.tuples(st.just("published"), st.just(1)),
            st.tuples(st.sampled_from(["overrun", "full", "corrupt"]), counts),
            st.tuples(st.just("spooled"), counts),
        )
    )
)
def test_every_scrape_balances(steps: list[tuple[str, int]]) -> None:
    registry = CollectorRegistry()
    stats = CameraStats("till-1", EdgeMetrics(registry).of("till-1"), lambda: None)
    for what, number in steps:
        match what:
            case "captured":
                stats.add_counts(Counts(), Counts(captured=number))
            case "found":
                stats.found(number)
            case "published":
                stats.published(10, 0.0)
            case "spooled":
                stats.set_spooled(number, 0)
            case reason:
                stats.dropped("somewhere", reason, number)
        samples = [sample for family in registry.collect() for sample in family.samples]
        value = {sample.name.removeprefix("framematch_edge_"): sample.value for sample in samples}
        dropped = sum(one.value for one in samples if "dropped_total" in one.name and one.labels["reason"] != "corrupt")
        assert (
            value["frames_captured_total"] + value["frames_found_total"]
            == value["frames_published_total"] + dropped + value["spooled_frames"] + value["frames_in_memory"]
        )
