"""Imports, exports, purges and snapshots over REST: operations are real processes over a real MongoDB server."""

import asyncio
import io
import json
import os
import signal
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from framematch.api.operations.files import OperationFiles
from framematch.api.operations.runner import clean_up
from framematch.api.operations.store import ATTEMPTS_MAX, OperationStore
from framematch.catalog.mongo import Database
from framematch.core.local_stack import process_fields
from framematch.stack.mongodb import MongoServer
from tests.integration.catalogue_api import CatalogueApi, catalogue_api
from tests.integration.product_site import ProductSite, stored_product
from tests.support import eventually
from tests.unit.catalog.snapshots import image_digest, picture

# Each operation starts a process, which takes seconds on a busy machine.
pytestmark = [
    pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.usefixtures("untraced_processes")
]  # fmt: skip

JSON_LINES = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
async def api(database: Database, mongodb: MongoServer, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    """The API over an empty catalogue with ten pictures."""
    site = ProductSite(database, tmp_path)
    await stored_product(site.store, "unused", *range(10))
    async with catalogue_api(site, mongodb.uri, lease_s=2.0) as found:
        yield found


def lines(count: int, bad: int = 0) -> bytes:
    """A file of so many rows; the first `bad` of them have a picture that is not stored."""
    rows = [
        {
            "id": f"p{number:05}",
            "name": f"Product {number}",
            "price": number / 10,
            "size": {"cm": [number, None]},
            "images": ["sha256:" + ("0" * 64 if number < bad else image_digest(picture(number % 10)))],
        }
        for number in range(count)
    ]
    return "\n".join(map(json.dumps, rows)).encode()


def children() -> list[int]:
    """The processes that this one has started, and that run operations."""
    own = str(os.getpid())
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    mine = [pid for pid in pids if (fields := process_fields(pid)) is not None and fields[1] == own]
    return [pid for pid in mine if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def test_an_import_reports_refused_rows_and_its_export_is_imported_to_the_same_catalogue(
    api: CatalogueApi,
) -> None:
    headers = {**JSON_LINES, "Idempotency-Key": "k"}
    started = await api.client.post("/v1/products:import", content=lines(200, bad=3), headers=headers)
    repeated = await api.client.post("/v1/products:import", content=lines(200, bad=3), headers=headers)
    assert repeated.json()["id"] == started.json()["id"]
    other = await api.client.post("/v1/products:import", content=lines(3), headers=headers)
    assert (other.status_code, other.json()["type"]) == (409, "/problems/idempotency_conflict")
    imported = await api.ended(started)
    assert (imported["state"], imported["response"]["added"], imported["response"]["refused"]) == ("succeeded", 197, 3)
    assert (imported["progress"]["done"], imported["progress"]["total"]) == (200, 200)
    assert imported["progress"]["unit"] == "rows"
    rows = (await api.client.get(f"/v1/operations/{imported['id']}/refused_rows?page_size=2")).json()
    assert [row["line"] for row in rows["items"]] == [1, 2]
    assert "is not stored" in rows["items"][0]["reason"]
    more = {"page_size": 2, "page_token": rows["next_page_token"]}
    rest = (await api.client.get(f"/v1/operations/{imported['id']}/refused_rows", params=more)).json()
    assert ([row["line"] for row in rest["items"]], rest["next_page_token"]) == ([3], None)

    before = [product async for product in api.site.store.iterate()]
    exported = await api.ended(await api.client.post("/v1/products:export"))
    content = await api.client.get(f"/v1/operations/{exported['id']}/content")
    assert (exported["response"]["products"], content.headers["content-type"]) == (197, "application/x-ndjson")

    refused = await api.client.post("/v1/products:purge", json={})
    assert (refused.status_code, refused.json()["detail"]) == (400, "this would delete 197 products")
    purged = await api.ended(await api.client.post("/v1/products:purge", json={"force": True}))
    assert purged["response"] == {"deleted": 197, "searched_until_next_build": 0}
    assert await api.site.store.count() == 0

    again = await api.client.post("/v1/products:import", content=content.content, headers=JSON_LINES)
    assert (await api.ended(again))["response"]["refused"] == 0
    assert [product async for product in api.site.store.iterate()] == before
    stored_files = api.site.database["operation_files.files"]

    async def only_the_export_is_kept() -> bool:
        return [file["_id"] async for file in stored_files.find({})] == [f"{exported['id']}/content"]

    await eventually(only_the_export_is_kept)


async def test_an_archive_is_imported_with_its_pictures_and_what_is_no_catalogue_fails_with_a_reason(
    api: CatalogueApi,
) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("shop/products.csv", "id,name,image\na,Apple,photos/a.png\n")
        archive.writestr("shop/photos/a.png", picture(100))
    kind = {"Content-Type": "application/zip"}
    good = await api.client.post("/v1/products:import", content=file.getvalue(), headers=kind)
    bad = await api.client.post(
        "/v1/products:import", content=b"sku,title\n1,2\n", headers={"Content-Type": "text/csv"}
    )
    assert (await api.ended(good))["response"]["added"] == 1
    assert set(await api.site.store.find_views([image_digest(picture(100))])) == {image_digest(picture(100))}
    failed = await api.ended(bad)
    assert (failed["state"], failed["response"], failed["error"]["status"]) == ("failed", None, 409)
    assert "the columns are of no known table" in failed["error"]["detail"]
    listed = (await api.client.get("/v1/operations?state=failed&kind=import")).json()["items"]
    assert [one["id"] for one in listed] == [failed["id"]]
    wrong = await api.client.post("/v1/products:import", content=b"x", headers={"Content-Type": "text/html"})
    assert wrong.status_code == 415


async def test_an_import_whose_process_is_killed_is_done_again_and_one_that_is_cancelled_ends(
    api: CatalogueApi,
) -> None:
    big = lines(15_000)
    started = await api.client.post("/v1/products:import", content=big, headers=JSON_LINES)
    waiting = await api.client.post("/v1/products:import", content=lines(2), headers=JSON_LINES)
    await api.running(started.json()["id"])
    assert (await api.client.get(waiting.headers["location"])).json()["state"] == "queued"
    at_once = await api.client.post(f"{waiting.headers['location']}:cancel")
    assert at_once.json()["state"] == "cancelled"
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)

    async def second_attempt() -> bool:
        found = await api.operations.get(started.json()["id"])
        return found is not None and found.attempts == 2 and found.state == "running" and found.progress.total > 0

    await eventually(second_attempt, timeout_s=60, message="another process has taken it up")
    await api.client.post(f"{started.headers['location']}:cancel")
    ended = await api.ended(started)
    assert (ended["state"], ended["error"], ended["response"]) == ("cancelled", None, None)
    assert (await api.client.post(f"{started.headers['location']}:cancel")).json() == ended
    assert (await api.client.post("/v1/operations/unknown:cancel")).status_code == 404


async def test_an_operation_is_handed_back_when_the_api_ends_and_goes_on_in_the_next_one(
    database: Database, mongodb: MongoServer, tmp_path: Path
) -> None:
    site = ProductSite(database, tmp_path)
    await stored_product(site.store, "unused", *range(10))
    async with catalogue_api(site, mongodb.uri) as first:
        started = await first.client.post("/v1/products:import", content=lines(15_000), headers=JSON_LINES)
        await first.running(started.json()["id"])
    handed_back = await OperationStore(database).get(started.json()["id"])
    assert handed_back is not None
    assert (handed_back.state, handed_back.attempts) == ("queued", 0)
    async with catalogue_api(site, mongodb.uri) as second:
        ended = await second.ended(started)
    assert (ended["state"], ended["response"]["read"]) == ("succeeded", 15_000)


async def test_a_dead_lease_is_taken_over_and_its_old_owner_writes_no_more(database: Database) -> None:
    store = OperationStore(database, lease_s=0.0)
    await store.create("export", {}, created_by="test")
    first = await store.claim()
    assert first is not None
    await asyncio.sleep(0.005)  # MongoDB keeps milliseconds
    second = await store.claim()
    assert second is not None
    assert (second.operation.id, second.operation.attempts) == (first.operation.id, 2)
    assert await store.heartbeat(first) is None
    assert not await store.finish(first, "succeeded")
    await store.settle(second, "killed")
    third = await store.claim()
    assert third is not None
    await store.settle(third, "killed")
    failed = await store.get(first.operation.id)
    assert failed is not None
    assert (failed.state, failed.attempts, failed.error and failed.error.code) == (
        "failed", ATTEMPTS_MAX, "internal",
    )  # fmt: skip


async def test_old_operations_are_deleted_with_their_files(database: Database) -> None:
    store, files = OperationStore(database), OperationFiles(database)
    await store.create("export", {}, created_by="test")
    claim = await store.claim()
    assert claim is not None

    async def pieces() -> AsyncIterator[bytes]:
        yield b"content"

    await files.write(claim.operation.id, "content", pieces())
    await clean_up(store, timedelta(0))
    assert await store.get(claim.operation.id) is not None
    await store.finish(claim, "succeeded", result={})
    await asyncio.sleep(0.005)  # MongoDB keeps milliseconds
    await clean_up(store, timedelta(0))
    assert await store.get(claim.operation.id) is None
    assert not await files.exists(claim.operation.id, "content")


async def test_a_page_of_operations_has_those_with_equal_times_once(database: Database, api: CatalogueApi) -> None:
    for _ in range(5):
        await api.operations.create("export", {}, created_by="test")
    time = {"created_at": (await database.operations.find_one({}) or {})["created_at"]}
    await database.operations.update_many({}, {"$set": time})
    found: list[str] = []
    token: str | None = ""
    while token is not None:
        page = (await api.client.get("/v1/operations", params={"page_size": 2, "page_token": token})).json()
        found += [item["id"] for item in page["items"]]
        token = page["next_page_token"]
    assert (len(found), len(set(found))) == (5, 5)


async def test_snapshots_are_activated_compared_rolled_back_and_deleted(
    database: Database, mongodb: MongoServer, tmp_path: Path
) -> None:
    site = ProductSite(database, tmp_path)
    await site.store.upsert_many([await stored_product(site.store, f"p{n}", n) for n in range(4)])
    old = await site.build()
    await site.store.delete_many(["p0"])
    await site.store.upsert_many([await stored_product(site.store, "p4", 4)])
    new = await site.build()
    async with catalogue_api(site, mongodb.uri) as api:
        first = await api.client.post(f"/v1/snapshots/{old.id}:activate", json={"expected_active": None})
        assert first.json()["after"]["active"] == old.id
        stale = await api.client.post(f"/v1/snapshots/{new.id}:activate", json={"expected_active": new.id})
        assert (stale.status_code, stale.json()["type"]) == (409, "/problems/stale")
        assert (await api.client.get("/v1/snapshots/active")).json()["id"] == old.id
        moved = await api.client.post(f"/v1/snapshots/{new.id}:activate", json={"expected_active": old.id})
        assert (moved.json()["after"]["active"], moved.json()["after"]["previous"]) == (new.id, old.id)
        diff = (await api.client.post("/v1/snapshots:diff", json={"before": "previous", "after": "active"})).json()
        assert (diff["added"], diff["removed"], diff["counts"]["same"]) == (["p4"], ["p0"], 3)
        back = await api.client.post("/v1/snapshots:rollback", json={"expected_active": new.id})
        assert back.json()["after"]["active"] == old.id
        again = await api.client.post("/v1/snapshots:rollback", json={"expected_active": new.id})
        assert again.status_code == 409
        shadow = await api.client.post(
            f"/v1/snapshots/{new.id}:shadow", json={"expected_active": old.id, "sample": 0.5}
        )
        assert (shadow.json()["after"]["shadow"], shadow.json()["after"]["shadow_sample"]) == (new.id, 0.5)
        report = await api.client.get(f"/v1/snapshots/{new.id}/shadow_report")
        assert (report.json()["regions"], report.json()["shares"]["changed"]) == (0, None)
        in_use = await api.client.delete(f"/v1/snapshots/{new.id}")
        assert (in_use.status_code, in_use.json()["type"]) == (409, "/problems/in_use")
        listed = (await api.client.get("/v1/snapshots?page_size=1")).json()
        rest = await api.client.get("/v1/snapshots", params={"page_token": listed["next_page_token"]})
        assert [one["id"] for one in (*listed["items"], *rest.json()["items"])] == [new.id, old.id]
        assert (listed["items"][0]["names"], listed["items"][0]["served_by"]) == (["previous", "shadow"], [])
        assert (await api.client.post(f"/v1/snapshots/{new.id}:end_shadow")).json()["after"]["shadow"] is None
        third = await site.build()
        await api.client.post(f"/v1/snapshots/{third.id}:activate", json={"expected_active": old.id})
        assert (await api.client.delete(f"/v1/snapshots/{new.id}")).status_code == 204
        assert (await api.client.get(f"/v1/snapshots/{new.id}")).status_code == 404
        assert (await api.client.post("/v1/snapshots:rollback", json={"expected_active": third.id})).status_code == 200
