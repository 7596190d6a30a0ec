"""What follows from a swap: metadata are read again, and metrics and /readyz say what is served."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from framematch.catalog.changes.delta import Delta, DeltaEntry
from framematch.core.health import Health
from framematch.matching.serving.metrics import SnapshotMetrics
from framematch.matching.serving.slot import Refusal
from framematch.matching.serving.state import HEALTH_PART, ServingState
from tests.unit.consumers.sample_frames import make_served

OLD, NEW = make_served(snapshot="old"), make_served(snapshot="new", delta=7)
REFUSAL = Refusal("next", "it is damaged", "build it")


class FakeMetadata:
    """Records what has expired; None stands for everything."""

    def __init__(self) -> None:
        self.expired: list[set[str] | None] = []

    def expire(self, product_ids: Iterable[str] | None = None) -> None:
        """Like `MetadataCache.expire`."""
        self.expired.append(None if product_ids is None else set(product_ids))


@pytest.fixture
def metadata() -> FakeMetadata:
    return FakeMetadata()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def health() -> Health:
    return Health(HEALTH_PART)


@pytest.fixture
def state(metadata: Any, registry: CollectorRegistry, health: Health) -> ServingState:
    return ServingState(metadata, SnapshotMetrics(registry, "consumer"), health)


def series(registry: CollectorRegistry, name: str) -> dict[str, float]:
    """The values of a metric by its first label."""
    samples = [sample for family in registry.collect() for sample in family.samples if sample.name == name]
    return {next(iter(sample.labels.values()), ""): sample.value for sample in samples}


def test_only_the_snapshot_that_is_served_has_a_series(state: ServingState, registry: CollectorRegistry) -> None:
    state.swapped("active", None, OLD, 0.5)
    state.swapped("active", OLD, NEW, 0.5)
    assert series(registry, "framematch_consumer_snapshot_info") == {"new": 1.0}
    assert series(registry, "framematch_consumer_snapshot_delta") == {"": 7.0}
    assert series(registry, "framematch_consumer_snapshot_swap_seconds_count") == {"": 1.0}, "the first is no swap"


def test_another_snapshot_expires_all_metadata(state: ServingState, metadata: FakeMetadata) -> None:
    state.swapped("active", OLD, NEW, 0.5)
    assert metadata.expired == [None]


def test_newer_changes_expire_the_metadata_of_the_changed_products(
    state: ServingState, metadata: FakeMetadata, registry: CollectorRegistry
) -> None:
    entries = [
        DeltaEntry(n, f"p{n}", removed=True, views=(), embeddings=np.empty((0, 4), np.float32)) for n in (1, 2, 3)
    ]
    before = replace(OLD, changes=Delta(0).with_entries(entries[:1]))
    state.swapped("active", before, replace(OLD, changes=before.changes.with_entries(entries[1:])), 0.01)
    assert metadata.expired == [{"p2", "p3"}]
    assert series(registry, "framematch_consumer_snapshot_swap_seconds_count") == {"": 0.0}


def test_a_shadow_changes_no_metadata_and_no_series(
    state: ServingState, metadata: FakeMetadata, registry: CollectorRegistry
) -> None:
    state.swapped("active", None, OLD, 0.5)
    state.swapped("shadow", None, NEW, 0.5)
    assert metadata.expired == [None]
    assert series(registry, "framematch_consumer_snapshot_info") == {"old": 1.0}
    assert state.changed.is_set()


def test_a_refusal_is_a_note_and_a_metric_until_it_ends(
    state: ServingState, registry: CollectorRegistry, health: Health
) -> None:
    state.swapped("active", None, OLD, 0.5)
    state.refused("active", REFUSAL)
    state.refused("shadow", replace(REFUSAL, snapshot="beside"))
    assert health.ready
    assert health.report()[HEALTH_PART] == (
        "ok (the active snapshot next is refused: it is damaged; the shadow beside is refused: it is damaged)"
    )
    assert series(registry, "framematch_consumer_snapshot_refused") == {"active": 1.0, "shadow": 1.0}
    state.refused("active", None)
    state.refused("shadow", None)
    assert health.report() == {HEALTH_PART: "ok"}
    assert series(registry, "framematch_consumer_snapshot_refused") == {"active": 0.0, "shadow": 0.0}


def test_the_first_snapshot_of_a_service_that_began_without_one_ends_its_note(
    state: ServingState, health: Health
) -> None:
    health.set_ready(HEALTH_PART)
    health.set_note(HEALTH_PART, "the catalogue has no index yet")
    state.swapped("active", None, NEW, 0.5)
    assert health.report() == {HEALTH_PART: "ok"}
