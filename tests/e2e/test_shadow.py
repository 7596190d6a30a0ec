"""A shadow decides live frames beside the active snapshot, with real servers and a real consumer."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial

import pytest

from demo.services import Service
from framematch.catalog.mongo import Database, connect
from framematch.catalog.snapshots.names import SnapshotNames, read_names, write_names
from framematch.catalog.snapshots.serving_status import read_statuses
from framematch.core.events import MatchEvent
from framematch.core.frames import Frame
from framematch.core.local_stack import LocalStack
from framematch.core.settings import MongoSettings
from framematch.matching.decision import Candidate, Decision, Thresholds, decide
from framematch.matching.shadow.comparison import product_of
from framematch.matching.shadow.counts import Flow, ShadowCounts, to_table
from framematch.matching.shadow.store import read_report
from tests.e2e.site import Site
from tests.e2e.snapshot_variants import store_variant
from tests.support import eventually

_CHUNK = 24  # frames that fit into the shadow's queue, so that none is dropped
Shadow = tuple[Database, SnapshotNames]


@pytest.fixture
async def names(servers: LocalStack) -> AsyncIterator[Shadow]:
    """The database, and the names in it before the test; afterwards there is no shadow."""
    async with await connect(str(servers.mongodb_uri)) as client:
        database = client[MongoSettings().database]
        before = await read_names(database)
        yield database, before
        await write_names(database, await read_names(database), before.with_shadow(None))


def new_id() -> str:
    return f"20300101T000000Z-{uuid.uuid4().hex[:8]}"


async def set_shadow(database: Database, snapshot_id: str) -> None:
    names = await read_names(database)
    await write_names(database, names, names.with_shadow(snapshot_id))


async def runs_shadow(database: Database, snapshot_id: str) -> bool:
    return any(status.shadow == snapshot_id for status in await read_statuses(database))


def outcomes(consumer: Service) -> dict[str, float]:
    name = "framematch_consumer_shadow_regions_total"
    return {outcome: sum(consumer.metric(name, outcome=outcome)) for outcome in ("compared", "dropped", "failed")}


def has_seen(consumer: Service, regions: int) -> bool:
    """Whether the shadow has got so many regions."""
    return sum(outcomes(consumer).values()) == regions


def looked_at(events: Sequence[MatchEvent]) -> list[MatchEvent]:
    """The events of regions that a model saw."""
    return [event for event in events if event.reason != "no_content"]


async def publish_slowly(site: Site, consumer: Service, count: int) -> tuple[list[Frame], list[MatchEvent]]:
    """Publish frames in chunks, each when the shadow has compared the one before; returns all frames and events."""
    frames: list[Frame] = []
    events: list[MatchEvent] = []
    for first in range(0, count, _CHUNK):
        frames += await site.publish(min(_CHUNK, count - first))
        ids = {frame.id for frame in frames}
        events = [event for event in await site.events(frames) if event.frame.id in ids]
        await eventually(partial(has_seen, consumer, len(looked_at(events))))
    return frames, events


def expected(events: Sequence[MatchEvent], thresholds: Thresholds, renamed: dict[str, str]) -> ShadowCounts:
    """What a shadow with the same vectors counts, reckoned from the published candidates."""
    decisions: Counter[tuple[str, str]] = Counter()
    flows: Counter[tuple[str | None, str | None]] = Counter()
    for event in events:
        candidates = [Candidate(found.product_id, found.score) for found in event.candidates]
        active = Decision(event.decision, event.score, event.margin, tuple(candidates), event.reason)
        shadow = decide(
            [Candidate(renamed.get(own.product_id, own.product_id), own.score) for own in candidates], thresholds
        )
        decisions[active.kind, shadow.kind] += 1
        before, after = product_of(active), product_of(shadow)
        if before != after:
            flows[before, after] += 1
    return ShadowCounts(
        decisions=to_table(decisions), flows=tuple(Flow(*products, regions) for products, regions in flows.items())
    )


async def test_a_shadow_with_other_thresholds_and_products_is_compared_and_publishes_nothing(
    site: Site, names: Shadow
) -> None:
    database, before = names
    active, shadow = str(before.active), new_id()
    consumer = site.start("consume")
    frames = await site.publish(_CHUNK)
    events = await site.events(frames)
    assert sum(outcomes(consumer).values()) == 0
    scores = sorted(event.score for event in events if event.decision == "match" and event.score is not None)
    products = {event.product.id for event in events if event.product is not None}
    thresholds, renamed = Thresholds(scores[len(scores) // 2] + 5e-6, 0.0), {one: f"new.{one}$1" for one in products}
    await store_variant(
        database, active, site.folder, snapshot_id=shadow, match=thresholds.match, margin=0.0, renamed=renamed
    )
    await set_shadow(database, shadow)
    await eventually(lambda: runs_shadow(database, shadow))
    sent, events = await publish_slowly(site, consumer, 3 * _CHUNK)
    assert outcomes(consumer)["dropped"] == outcomes(consumer)["failed"] == 0
    consumer.stop()
    counts = (await read_report(database, active, shadow)).counts
    found = expected(looked_at(events), thresholds, renamed)
    assert counts.decisions == found.decisions
    assert counts.decisions[0][2] > 0
    assert sorted(counts.flows, key=str) == sorted(found.flows, key=str)
    assert any((flow.shadow or "").startswith("new.") for flow in counts.flows)
    assert counts.regions == counts.frames == len(looked_at(events))
    assert counts.shadow_cost.embed_ms < counts.active_cost.embed_ms / 10
    # The topic has one event for each frame, all of the active snapshot.
    records = await site.read(site.topics.matches, len(frames) + len(sent))
    assert len(records) == len(frames) + len(sent)
    assert {event.snapshot for event in events} == {active}


async def test_a_shadow_whose_model_is_not_served_disturbs_nothing_and_is_reported(site: Site, names: Shadow) -> None:
    database, before = names
    shadow = new_id()
    await store_variant(database, str(before.active), site.folder, snapshot_id=shadow, model_digest="ab" * 32)
    await set_shadow(database, shadow)
    consumer = site.start("consume")

    async def refused() -> bool:
        statuses = await read_statuses(database)
        return any(status.refused and status.refused.snapshot == shadow for status in statuses)

    await eventually(refused)
    frames = await site.publish(_CHUNK)
    events = await site.events(frames)
    assert {event.snapshot for event in events} == {before.active}
    assert sum(outcomes(consumer).values()) == 0
    assert consumer.readiness()["kafka"] == "ok"
