"""Product metadata from memory and from MongoDB, with a store that can be unavailable."""

import asyncio
import itertools
from collections.abc import Iterable
from typing import cast

import pytest

from framematch.catalog.products import Product, ProductStore
from framematch.core.errors import CatalogError, MongoUnavailableError
from framematch.matching.enrich import PAUSE_INITIAL_S, PAUSE_MAX_S, Metadata, MetadataCache

TTL_S = 60.0


class FakeStore:
    """Products in a dict. Each query is recorded; it can fail or hang."""

    def __init__(self, *ids: str) -> None:
        self.products = {key: Product(key, key.upper()) for key in ids}
        self.queries: list[set[str]] = []
        self.error: Exception | None = None
        self.hangs = False

    async def get_many(self, ids: Iterable[str]) -> dict[str, Product]:
        """Like `ProductStore.get_many`."""
        self.queries.append(set(ids))
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return {key: self.products[key] for key in self.queries[-1] if key in self.products}


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def store() -> FakeStore:
    return FakeStore("a", "b", "c")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(store: FakeStore, clock: Clock) -> MetadataCache:
    return MetadataCache(cast("ProductStore", store), ttl_s=TTL_S, clock=clock, lookup_timeout_s=0.01)


async def test_all_products_of_a_batch_are_read_in_one_query(cache: MetadataCache, store: FakeStore) -> None:
    found = await cache.lookup(["a", "b", "a"])
    assert found == {"a": Metadata("fresh", Product("a", "A")), "b": Metadata("fresh", Product("b", "B"))}
    assert store.queries == [{"a", "b"}]


async def test_a_cached_product_is_not_read_again(cache: MetadataCache, store: FakeStore) -> None:
    await cache.lookup(["a"])
    assert (await cache.lookup(["a", "b"]))["a"].state == "fresh"
    assert store.queries == [{"a"}, {"b"}]


async def test_an_entry_beyond_its_time_to_live_is_read_again(
    cache: MetadataCache, store: FakeStore, clock: Clock
) -> None:
    await cache.lookup(["a"])
    store.products["a"] = Product("a", "new")
    clock.now_s += TTL_S
    assert (await cache.lookup(["a"]))["a"] == Metadata("fresh", Product("a", "new"))


async def test_a_product_that_is_not_in_the_catalogue_is_missing_and_cached_as_such(
    cache: MetadataCache, store: FakeStore
) -> None:
    assert await cache.lookup(["z"]) == {"z": Metadata("missing", None)}
    await cache.lookup(["z"])
    assert store.queries == [{"z"}]


@pytest.mark.parametrize("error", [MongoUnavailableError("unreachable"), CatalogError("not authorised")])
async def test_while_mongodb_is_unavailable_old_entries_are_used_and_marked(
    cache: MetadataCache, store: FakeStore, clock: Clock, error: Exception
) -> None:
    await cache.lookup(["a"])
    clock.now_s += TTL_S
    store.error = error
    found = await cache.lookup(["a", "b"])
    assert found == {"a": Metadata("cached", Product("a", "A")), "b": Metadata("missing", None)}


async def test_a_server_that_hangs_counts_as_unavailable(cache: MetadataCache, store: FakeStore) -> None:
    store.hangs = True
    assert (await cache.lookup(["a"]))["a"].state == "missing"


async def test_fresh_entries_stay_fresh_while_mongodb_is_unavailable(cache: MetadataCache, store: FakeStore) -> None:
    await cache.lookup(["a"])
    store.error = MongoUnavailableError("unreachable")
    assert (await cache.lookup(["a", "b"]))["a"].state == "fresh"


async def test_while_mongodb_is_unavailable_lookups_retry_after_a_pause_that_doubles(
    cache: MetadataCache, store: FakeStore, clock: Clock
) -> None:
    store.error = MongoUnavailableError("unreachable")
    queried_at_s: list[float] = []
    for second in range(120):
        clock.now_s = 1000.0 + second
        before = len(store.queries)
        await cache.lookup(["a"])
        queried_at_s += [second] * (len(store.queries) - before)
    pauses = [later - sooner for sooner, later in itertools.pairwise(queried_at_s)]
    assert pauses == [PAUSE_INITIAL_S, 2, 4, 8, 16, PAUSE_MAX_S, PAUSE_MAX_S]


async def test_lookups_concurrent_with_a_retry_do_not_wait(
    cache: MetadataCache, store: FakeStore, clock: Clock
) -> None:
    store.error = MongoUnavailableError("unreachable")
    await cache.lookup(["a"])
    store.error, store.hangs = None, True
    clock.now_s += PAUSE_INITIAL_S
    await asyncio.gather(*(cache.lookup(["a"]) for _ in range(5)))
    assert len(store.queries) == 2


async def test_lookups_that_fail_together_count_as_one_failure(
    cache: MetadataCache, store: FakeStore, clock: Clock
) -> None:
    store.hangs = True
    await asyncio.gather(*(cache.lookup(["a"]) for _ in range(3)))
    store.hangs = False
    clock.now_s += PAUSE_INITIAL_S
    assert (await cache.lookup(["a"]))["a"].state == "fresh"


async def test_after_a_successful_retry_every_lookup_reads_again(
    cache: MetadataCache, store: FakeStore, clock: Clock
) -> None:
    store.error = MongoUnavailableError("unreachable")
    await cache.lookup(["a"])
    store.error = None
    clock.now_s += PAUSE_INITIAL_S
    assert (await cache.lookup(["a"]))["a"].state == "fresh"
    assert (await cache.lookup(["b"]))["b"].state == "fresh"


async def test_a_batch_with_more_products_than_the_cache_holds_gets_all_of_them(store: FakeStore) -> None:
    cache = MetadataCache(cast("ProductStore", store), max_entries=2)
    await cache.lookup(["c"])
    assert all(found.product for found in (await cache.lookup(["a", "b", "c"])).values())


async def test_the_least_recently_used_product_is_evicted_first(store: FakeStore) -> None:
    cache = MetadataCache(cast("ProductStore", store), max_entries=2)
    for key in ("a", "b", "a", "c", "a", "b"):
        await cache.lookup([key])
    assert store.queries == [{"a"}, {"b"}, {"c"}, {"b"}]


async def test_an_expired_product_is_read_again_when_it_is_used_and_the_others_are_not(
    cache: MetadataCache, store: FakeStore
) -> None:
    await cache.lookup({"a", "b"})
    store.products["a"] = Product("a", "changed")
    cache.expire({"a", "never read"})
    found = await cache.lookup({"a", "b"})
    assert (found["a"], store.queries[1:]) == (Metadata("fresh", Product("a", "changed")), [{"a"}])


async def test_after_all_have_expired_each_is_read_once_when_it_is_used(cache: MetadataCache, store: FakeStore) -> None:
    await cache.lookup({"a", "b", "c"})
    cache.expire()
    assert len(store.queries) == 1
    for _ in range(2):
        await cache.lookup({"a"})
        await cache.lookup({"b"})
    assert store.queries[1:] == [{"a"}, {"b"}]


@pytest.mark.parametrize("expired", [None, {"a"}])
async def test_what_has_expired_serves_while_mongodb_is_away(
    cache: MetadataCache, store: FakeStore, expired: set[str] | None
) -> None:
    await cache.lookup({"a"})
    store.error = MongoUnavailableError("no answer")
    cache.expire(expired)
    assert await cache.lookup({"a"}) == {"a": Metadata("cached", Product("a", "A"))}


@pytest.mark.parametrize("expired", [None, {"a"}])
async def test_what_expires_while_it_is_read_is_read_again(
    cache: MetadataCache, store: FakeStore, monkeypatch: pytest.MonkeyPatch, expired: set[str] | None
) -> None:
    read = store.get_many

    async def read_before_the_change(ids: Iterable[str]) -> dict[str, Product]:
        found = await read(ids)
        cache.expire(expired)
        return found

    monkeypatch.setattr(store, "get_many", read_before_the_change)
    await cache.lookup({"a"})
    monkeypatch.undo()
    store.products["a"] = Product("a", "changed")
    assert await cache.lookup({"a"}) == {"a": Metadata("fresh", Product("a", "changed"))}
