"""Product metadata from memory while it is fresh, else from MongoDB; a failure of MongoDB never blocks matching."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog
from cachetools import LRUCache

from framematch.catalog.products import Product, ProductStore
from framematch.core.errors import CatalogError, UnavailableError
from framematch.core.events import MetadataState

log = structlog.get_logger()

# A query of a few ids takes milliseconds; a batch waits no longer than this for MongoDB.
LOOKUP_TIMEOUT_S = 0.5
PAUSE_INITIAL_S = 1.0
PAUSE_MAX_S = 30.0
_EXPIRED = -1


@dataclass(frozen=True)
class Metadata:
    """A product's metadata: `fresh` within its time to live, `cached` beyond it, `missing` when it is not known."""

    state: MetadataState
    product: Product | None


@dataclass(frozen=True)
class _Entry:
    product: Product | None  # None: the catalogue has no such product
    read_at_s: float
    generation: int  # rises with each change of the catalogue that is known


class MetadataCache:
    """Caches metadata of the most recently used products, and reads an entry again after `ttl_s`.

    While MongoDB is unavailable, cached entries are used whatever their age. Only one lookup retries, after a pause
    that doubles from `PAUSE_INITIAL_S` to `PAUSE_MAX_S`; the others do not wait.
    """

    def __init__(
        self,
        store: ProductStore,
        max_entries: int = 100_000,
        ttl_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        lookup_timeout_s: float = LOOKUP_TIMEOUT_S,
    ) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._clock = clock
        self._lookup_timeout_s = lookup_timeout_s
        self._entries: LRUCache[str, _Entry] = LRUCache(max_entries)
        self._generation = self._oldest_generation = 0
        self._pause_s = 0.0  # 0 while MongoDB is available
        self._retry_at_s = 0.0

    async def lookup(self, product_ids: Iterable[str]) -> dict[str, Metadata]:
        """Metadata of each id, with one query for those that are not cached or not fresh. Never raises for MongoDB."""
        now_s = self._clock()
        cached = {key: self._entries.get(key) for key in product_ids}
        wanted = [key for key, entry in cached.items() if not self._is_fresh(entry, now_s)]
        read = await self._read(wanted, now_s) if wanted else {}
        return {key: self._metadata(read.get(key, entry), now_s) for key, entry in cached.items()}

    def expire(self, product_ids: Iterable[str] | None = None) -> None:
        """Read these products again, by default all, when they are used next; until then the old values serve."""
        self._generation += 1
        if product_ids is None:
            self._oldest_generation = self._generation
            return
        for key in product_ids:
            if (entry := self._entries.get(key)) is not None:
                self._entries[key] = replace(entry, generation=_EXPIRED)

    async def _read(self, ids: list[str], now_s: float) -> dict[str, _Entry]:
        if self._pause_s and now_s < self._retry_at_s:
            return {}
        pause_s, generation = self._pause_s, self._generation
        # Set before the attempt, so that concurrent lookups do not wait too.
        self._retry_at_s = now_s + max(pause_s, PAUSE_INITIAL_S)
        try:
            async with asyncio.timeout(self._lookup_timeout_s):
                products = await self._store.get_many(ids)
        except (UnavailableError, CatalogError, TimeoutError) as error:
            # CatalogError: MongoDB refuses, for instance after its rights were withdrawn.
            if self._pause_s == pause_s:  # else a concurrent lookup has failed and doubled the pause
                self._on_failure(error)
            return {}
        self._on_success()
        if generation != self._generation:  # they may be from before the change
            generation = _EXPIRED
        entries = {key: _Entry(products.get(key), now_s, generation) for key in ids}
        self._entries.update(entries)
        return entries

    def _on_failure(self, error: Exception) -> None:
        if not self._pause_s:
            log.warning("metadata_unavailable", error=str(error) or "no answer in time")
        self._pause_s = min(max(2 * self._pause_s, PAUSE_INITIAL_S), PAUSE_MAX_S)
        self._retry_at_s = self._clock() + self._pause_s

    def _on_success(self) -> None:
        if self._pause_s:
            log.info("metadata_available")
        self._pause_s = 0.0

    def _is_fresh(self, entry: _Entry | None, now_s: float) -> bool:
        if entry is None or entry.generation < self._oldest_generation:
            return False
        return now_s - entry.read_at_s < self._ttl_s

    def _metadata(self, entry: _Entry | None, now_s: float) -> Metadata:
        if entry is None or entry.product is None:
            return Metadata("missing", None)
        return Metadata("fresh" if self._is_fresh(entry, now_s) else "cached", entry.product)
