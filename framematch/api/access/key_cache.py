"""Keeps the API keys that are in use in memory, and reads them again every few seconds, so that a revocation counts.

A request never waits for MongoDB if its key is here. While MongoDB is away, keys stay valid for a bounded time.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import pymongo
import structlog

from framematch.api.access.key_store import find_key, find_keys, write_last_used
from framematch.api.access.keys import ApiKey
from framematch.catalog.mongo import Database
from framematch.core.errors import FramematchError

log = structlog.get_logger()

KEYS_MAX = 5_000
"""Of known keys, and of ids that are not known: somebody may try ids without end."""
LOOKUP_TIMEOUT_S = 2.0
_LAST_USED_INTERVAL_S = 60.0

Value = TypeVar("Value")


@dataclass
class _Entry:
    """A key, when MongoDB said so, and when it was asked for; by the monotonic clock."""

    key: ApiKey
    checked_at_s: float
    used_at_s: float


class KeyCache:
    """The keys in use.

    `refresh_s` is the longest time between two looks into MongoDB while it answers; `grace_s` is how long a key stays
    valid after the last one.
    """

    def __init__(
        self,
        database: Database,
        *,
        refresh_s: float,
        grace_s: float,
        lookup_timeout_s: float = LOOKUP_TIMEOUT_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._lookup_timeout_s = lookup_timeout_s
        self._refresh_s = refresh_s
        self._grace_s = grace_s
        self._monotonic_s = monotonic_s
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()  # until when
        self._used: dict[str, datetime] = {}
        self._last_used_written_at_s = monotonic_s()
        self._is_reachable = True

    def has(self, key_id: str) -> bool:
        """Whether `find` answers without asking MongoDB."""
        now_s = self._monotonic_s()
        entry = self._entries.get(key_id)
        is_known = entry is not None and now_s - entry.checked_at_s < self._grace_s
        return is_known or self._unknown.get(key_id, now_s) > now_s

    async def find(self, key_id: str) -> ApiKey | None:
        """The key with this id, also one that is expired or revoked.

        Raises:
            MongoUnavailableError: it is not here, and MongoDB does not answer.
        """
        now_s = self._monotonic_s()
        if self.has(key_id):
            if (entry := self._entries.get(key_id)) is None:
                return None
            entry.used_at_s = now_s
            self._entries.move_to_end(key_id)
            return entry.key
        with pymongo.timeout(self._lookup_timeout_s):
            key = await find_key(self._database, key_id)
        if key is None:
            self.forget(key_id)
            _put(self._unknown, key_id, now_s + self._refresh_s)
        else:
            self._unknown.pop(key_id, None)
            _put(self._entries, key_id, _Entry(key, now_s, now_s))
        return key

    def mark_used(self, key_id: str) -> None:
        """A request has proved that it has this key. It is written later, for all keys together."""
        self._used[key_id] = datetime.now(UTC)

    def forget(self, key_id: str) -> None:
        """A key was changed by this process: it is read again before it is used."""
        self._entries.pop(key_id, None)
        self._unknown.pop(key_id, None)

    async def run(self, stop: asyncio.Event) -> None:
        """Read the keys again until `stop`, and write when they were used."""
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._refresh_s / 2)
            await self.refresh(write_used=stop.is_set())

    async def refresh(self, *, write_used: bool = False) -> None:
        """Read the keys again; with `write_used`, or once a minute, write when they were used."""
        now_s = self._monotonic_s()
        for key_id, entry in list(self._entries.items()):
            if now_s - entry.used_at_s > self._grace_s:
                del self._entries[key_id]
        try:
            with pymongo.timeout(self._lookup_timeout_s):
                await self._read_again(now_s)
                if write_used or now_s - self._last_used_written_at_s >= _LAST_USED_INTERVAL_S:
                    await self._write_last_used(now_s)
        except FramematchError as error:
            if self._is_reachable:
                log.warning("api_keys_unreachable", keys=len(self._entries), valid_s=self._grace_s, error=str(error))
            self._is_reachable = False
            return
        if not self._is_reachable:
            log.info("api_keys_reachable")
        self._is_reachable = True

    async def _read_again(self, now_s: float) -> None:
        key_ids = list(self._entries)
        if not key_ids:
            return
        found = await find_keys(self._database, key_ids)
        for key_id in key_ids:
            if (entry := self._entries.get(key_id)) is None:
                continue  # forgotten in the meantime
            if (key := found.get(key_id)) is None:
                self.forget(key_id)
            else:
                entry.key, entry.checked_at_s = key, now_s

    async def _write_last_used(self, now_s: float) -> None:
        used, self._used = self._used, {}
        self._last_used_written_at_s = now_s
        if used:
            try:
                await write_last_used(self._database, used)
            except FramematchError:
                self._used = {**used, **self._used}
                raise


def _put(entries: OrderedDict[str, Value], key_id: str, value: Value) -> None:
    entries[key_id] = value
    entries.move_to_end(key_id)
    if len(entries) > KEYS_MAX:
        entries.popitem(last=False)
