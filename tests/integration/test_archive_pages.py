"""Pages of the archive on a real MongoDB: every event exactly once, whatever is written meanwhile."""

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from framematch.archive import queries as queries_module
from framematch.archive.arrival import ABANDONED_S, Arrival, archived
from framematch.archive.entries import Entry, Place
from framematch.archive.indexes import ensure_indexes
from framematch.archive.metrics import ArchiveMetrics
from framematch.archive.queries import ArchiveQueries, Order, Wanted
from framematch.archive.writer import ArchiveWriter
from framematch.catalog.mongo import Database, connect
from framematch.core.settings import ArchiveSettings
from framematch.stack.mongodb import MongoServer

pytestmark = pytest.mark.integration

few_examples = hypothesis.settings(
    max_examples=12, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)


@pytest.fixture
async def database(mongodb: MongoServer) -> AsyncIterator[Database]:
    async with await connect(mongodb.uri) as client:
        found = client[f"pages-{uuid.uuid4().hex[:8]}"]
        await ensure_indexes(found, ArchiveSettings())
        yield found


def entry(identity: str, at_us: int, **fields: Any) -> Entry:
    event = json.dumps({"id": identity})
    at = datetime(2026, 1, 1, tzinfo=UTC)
    stored = {"captured_us": at_us, "captured_at": at, "camera": "till-1", "product": "milk", "score": 0.5, **fields}
    return Entry("matches", identity, None, {**stored, "event": event}, Place("shop.matches", 0, 0), 0)


def writer_of(database: Database) -> ArchiveWriter:
    return ArchiveWriter(database, ArchiveMetrics(CollectorRegistry()))


async def all_pages(
    database: Database, wanted: Wanted | None = None, order: Order = "time", size: int = 100
) -> list[str]:
    """The ids on all pages, one after the other."""
    queries, found, after, wanted = ArchiveQueries(database), list[str](), None, wanted or Wanted()
    while True:
        page = await queries.page("matches", wanted, order, size, after)
        found += [json.loads(event)["id"] for event in page.events]
        if page.position is None or (order == "arrival" and not page.events):
            return found
        after = page.position


@given(times=st.lists(st.integers(0, 3), min_size=1, max_size=14), size=st.integers(1, 5), late=st.integers(0, 3))
@few_examples
async def test_by_time_every_event_is_on_one_page_also_with_equal_times_and_while_others_come(
    database: Database, times: list[int], size: int, late: int
) -> None:
    await archived(database, "matches").delete_many({})
    writer, queries = writer_of(database), ArchiveQueries(database)
    await writer.write([entry(f"{number:02}", at) for number, at in enumerate(times)])
    found: list[str] = []
    after, pages = None, 0
    while True:
        page = await queries.page("matches", Wanted(), "time", size, after)
        found += [json.loads(event)["id"] for event in page.events]
        await writer.write([entry(f"late-{pages}", late)])  # as replayed frames do: at any time, also of a page before
        pages += 1
        if page.position is None or pages > len(times) + 5:
            break
        after = page.position
    first = [identity for identity in found if not identity.startswith("late")]
    assert first == sorted(first, key=lambda identity: (times[int(identity)], identity), reverse=True)
    assert sorted(first) == [f"{number:02}" for number in range(len(times))]
    assert len(found) == len(set(found))


@given(steps=st.lists(st.sampled_from(["reserve", "finish first", "finish last", "poll"]), max_size=16))
@few_examples
async def test_by_arrival_whoever_polls_gets_every_event_once_however_the_writers_overlap(
    database: Database, steps: list[str]
) -> None:
    queries, documents = ArchiveQueries(database), archived(database, "matches")
    writers = [Arrival(database, "matches") for _ in range(2)]
    last = await queries.page("matches", Wanted(), "arrival", 500, None)  # what earlier examples have left
    written: list[str] = []
    seen: list[str] = []
    open_batches: list[tuple[Arrival, Any]] = []
    after = last.position

    async def finish(at: int) -> None:
        arrival, reservation = open_batches.pop(at)
        identities = [uuid.uuid4().hex for _ in range(2)]
        batch = [
            {**entry(one, 5).fields, "_id": one, "seq": reservation.first + place, "archived_at": datetime.now(UTC)}
            for place, one in enumerate(identities)
        ]
        await documents.insert_many(batch)
        await arrival.release(reservation)
        written.extend(identities)

    async def poll() -> None:
        nonlocal after
        page = await queries.page("matches", Wanted(), "arrival", 3, after)
        seen.extend(json.loads(event)["id"] for event in page.events)
        after = page.position

    for number, step in enumerate(steps):
        if step == "reserve":
            arrival = writers[number % 2]
            open_batches.append((arrival, await arrival.reserve(2)))
        elif step == "poll":
            await poll()
        elif open_batches:
            await finish(0 if step == "finish first" else -1)
    while open_batches:
        await finish(0)
    for _ in range(len(written)):
        await poll()
    assert sorted(seen) == sorted(written)


async def test_by_arrival_a_page_looks_at_so_many_events_and_the_next_goes_on_there(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries_module, "_WINDOW", 3)
    products = ["rare" if number in (2, 17) else "milk" for number in range(20)]
    await writer_of(database).write([entry(f"{at:02}", 1, product=product) for at, product in enumerate(products)])
    await database.matches.delete_many({"seq": {"$lte": 2}})  # as MongoDB deletes the oldest
    queries, after, found = ArchiveQueries(database), None, list[str]()
    for _ in range(7):
        page = await queries.page("matches", Wanted({"product": ["rare"]}), "arrival", 5, after)
        found += [json.loads(event)["id"] for event in page.events]
        after = page.position
    assert found == ["02", "17"]
    assert after == [20]


async def test_what_a_writer_has_left_that_is_gone_is_shown_a_minute_later(database: Database) -> None:
    clock = [0.0]
    gone, alive = Arrival(database, "matches"), Arrival(database, "matches", clock=lambda: clock[0])
    await gone.reserve(10)
    await writer_of(database).write([entry("later", 1)])
    mine = await alive.reserve(1)
    await alive.close_abandoned()
    clock[0] = ABANDONED_S - 1
    await alive.close_abandoned()
    assert await all_pages(database, order="arrival") == []
    clock[0] = ABANDONED_S
    await alive.close_abandoned()
    assert await all_pages(database, order="arrival") == ["later"]
    assert await alive.visible_below() == mine.first, "a reservation of a writer that lives is not taken from it"


async def test_numbers_go_on_above_those_in_use_when_somebody_has_deleted_the_state(database: Database) -> None:
    await writer_of(database).write([entry(f"{number}", 1) for number in range(5)])
    await database["archive_state"].drop()
    await writer_of(database).write([entry("new", 1)])
    assert await all_pages(database, order="arrival", size=2) == ["0", "1", "2", "3", "4", "new"]


async def test_filters_select_by_camera_product_time_score_and_what_a_key_may_see(database: Database) -> None:
    await writer_of(database).write(
        [
            entry("a", 10, camera="till-1", product="milk", score=0.9, decision="match"),
            entry("b", 20, camera="till-2", product="oats", score=0.7, decision="ambiguous"),
            entry("c", 30, camera="shelf.1", product=None, score=None, decision="unknown"),
        ]
    )
    await database.matches.insert_one({"_id": "of somebody else", "event": "no JSON", "camera": "till-1"})

    async def ids(values: dict[str, list[str]] | None = None, **wanted: Any) -> str:
        return "".join(await all_pages(database, replace(Wanted(values or {}), **wanted)))

    assert await ids() == "cba"
    assert await ids({"camera": ["till-1", "shelf.1"], "product": []}) == "ca"
    assert await ids({"decision": ["match"]}) + await ids({"product": ["oats"], "camera": ["till-2"]}) == "ab"
    assert (await ids(since_us=20), await ids(until_us=20), await ids(since_us=11, until_us=20)) == ("cb", "a", "")
    assert (await ids(min_score=0.8), await ids(min_score=-1.0)) == ("a", "ba")
    assert await ids(cameras=["till-*"]) + await ids(cameras=["shelf?1", "x"]) + await ids(cameras=[]) == "bac"
    assert (await ids(cameras=["till"]), await ids({"camera": ["shelf.1"]}, cameras=["till-[12]"])) == ("", "")
    queries = ArchiveQueries(database)
    assert await queries.one("matches", "a", ["till-*"]) == '{"id": "a"}'
    assert await queries.one("matches", "c", ["till-*"]) is None
    assert await queries.one("matches", "of somebody else", None) is None
