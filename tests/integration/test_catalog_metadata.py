"""Product metadata while a real MongoDB server stops and starts again."""

import asyncio
import gc
import uuid
import warnings
from pathlib import Path

import pytest

from framematch.catalog.mongo import connect
from framematch.catalog.products import Product, ProductStore
from framematch.matching.enrich import PAUSE_MAX_S, Metadata, MetadataCache
from framematch.stack.mongodb import MongoServer

pytestmark = pytest.mark.integration

APPLE = Product("a", "Apple")
TTL_S = 60.0


def test_metadata_is_cached_while_the_server_is_stopped_and_fresh_after(tmp_path: Path) -> None:
    server = MongoServer(tmp_path)
    server.start()
    try:
        with warnings.catch_warnings():
            # PyMongo 4.20 does not close the socket of a monitor that it cancels while connecting.
            warnings.simplefilter("ignore", ResourceWarning)
            before, during, after = asyncio.run(stop_and_start(server))
            gc.collect()
    finally:
        server.stop()
    assert before == {"a": Metadata("fresh", APPLE)}
    assert during == {"a": Metadata("cached", APPLE), "b": Metadata("missing", None)}
    assert after == before


async def stop_and_start(server: MongoServer) -> tuple[dict[str, Metadata], ...]:
    """The results of lookups before, during and after the stop."""
    now_s = 0.0
    async with await connect(server.uri) as client:
        store = ProductStore(client[f"metadata_{uuid.uuid4().hex}"])
        await store.upsert_many([APPLE])
        cache = MetadataCache(store, ttl_s=TTL_S, clock=lambda: now_s)
        before = await cache.lookup(["a"])
        await asyncio.to_thread(server.stop)
        now_s += TTL_S
        during = await cache.lookup(["a", "b"])
        await asyncio.to_thread(server.start)
        await client.admin.command("ping")
        now_s += PAUSE_MAX_S
        return before, during, await cache.lookup(["a"])


async def test_unknown_fields_of_a_product_are_ignored(mongodb: MongoServer) -> None:
    async with await connect(mongodb.uri) as client:
        store = ProductStore(client[f"metadata_{uuid.uuid4().hex}"])
        await store.upsert_many([APPLE])
        await store.database.products.update_one({"_id": "a"}, {"$set": {"shelf": 7}})
        assert await MetadataCache(store).lookup(["a"]) == {"a": Metadata("fresh", APPLE)}
