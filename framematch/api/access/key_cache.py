"""Keeps the API keys in memory, and reads them again every few seconds, so that a revocation counts.

A request waits for MongoDB only with a key that was made since. While MongoDB is away, keys stay valid for a bounded
time.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import pymongo
import structlog

from framematch.api.access.key_store import find_key, list_valid_keys, write_last_used
from framematch.api.access.keys import ApiKey
from framematch.catalog.mongo import Database
from framematch.core.errors import FramematchError

log = structlog.get_logger()

KEYS_MAX = 5_000
"""Of keys in memory; further ones are looked up. And of ids that are not known: somebody may try ids without end."""
LOOKUP_TIMEOUT_S = 2.0
_LAST_USED_INTERVAL_S = 60.0


@dataclass(frozen=True)
class _Entry:
    """What MongoDB said about an id, None if it has no such key; and until when that counts, by the monotonic clock."""

    key: ApiKey | None
    until_s: float


class KeyCache:
    """The keys.

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
        self._refresh_s = refresh_s
        self._grace_s = max(grace_s, refresh_s)
        self._lookup_timeout_s = lookup_timeout_s
        self._monotonic_s = monotonic_s
        self._keys: dict[str, _Entry] = {}
        self._looked_up: OrderedDict[str, _Entry] = OrderedDict()  # until the next refresh
        self._changes = 0
        self._used: dict[str, datetime] = {}
        self._used_written_at_s = monotonic_s()
        self._is_reachable = True

    def has(self, key_id: str) -> bool:
        """Whether `find` answers without asking MongoDB."""
        return self._held(key_id) is not None

    async def find(self, key_id: str) -> ApiKey | None:
        """The key with this id, also one that is expired or revoked.

        Raises:
            MongoUnavailableError: it is not here, and MongoDB does not answer.
        """
        if entry := self._held(key_id):
            return entry.key
        changes, now_s = self._changes, self._monotonic_s()
        with pymongo.timeout(self._lookup_timeout_s):
            key = await find_key(self._database, key_id)
        if changes == self._changes:
            self._looked_up[key_id] = _Entry(key, now_s + (self._grace_s if key else self._refresh_s))
            if len(self._looked_up) > KEYS_MAX:
                self._looked_up.popitem(last=False)
        return key

    def mark_used(self, key_id: str) -> None:
        """A request has proved that it has this key. It is written later, for all keys together."""
        self._used[key_id] = datetime.now(UTC)

    def forget(self, key_id: str) -> None:
        """A key was changed by this process: it is read again before it is used."""
        self._changes += 1
        self._keys.pop(key_id, None)
        self._looked_up.pop(key_id, None)

    async def run(self, stop: asyncio.Event) -> None:
        """Read the keys now and again until `stop`, and write when they were used."""
        await self.refresh()
        is_last = False
        while not is_last:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._refresh_s / 2)
            is_last = stop.is_set()
            await self.refresh(write_used=is_last)

    async def refresh(self, *, write_used: bool = False) -> None:
        """Read the keys again; with `write_used`, or once a minute, write when they were used."""
        try:
            with pymongo.timeout(self._lookup_timeout_s):
                await self._read_again()
                if write_used or self._monotonic_s() - self._used_written_at_s >= _LAST_USED_INTERVAL_S:
                    await self._write_used()
        except FramematchError as error:
            if self._is_reachable:
                log.warning("api_keys_unreachable", keys=len(self._keys), valid_s=self._grace_s, error=str(error))
            self._is_reachable = False
            return
        if not self._is_reachable:
            log.info("api_keys_reachable")
        self._is_reachable = True

    def _held(self, key_id: str) -> _Entry | None:
        entry = self._keys.get(key_id) or self._looked_up.get(key_id)
        return entry if entry is not None and self._monotonic_s() < entry.until_s else None

    async def _read_again(self) -> None:
        changes, now_s = self._changes, self._monotonic_s()
        keys = await list_valid_keys(self._database, KEYS_MAX)
        if changes == self._changes:  # else it may be from before the change; the next time is soon
            self._keys = {key.id: _Entry(key, now_s + self._grace_s) for key in keys}
            for key_id in [key_id for key_id, entry in self._looked_up.items() if entry.key is not None]:
                del self._looked_up[key_id]

    async def _write_used(self) -> None:
        used, self._used = self._used, {}
        self._used_written_at_s = self._monotonic_s()
        if used:
            try:
                await write_last_used(self._database, used)
            except FramematchError:
                self._used = used | self._used
                raise
