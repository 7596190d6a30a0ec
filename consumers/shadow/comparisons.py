"""The comparisons of this process, by pair of snapshots, and writing what they have counted to MongoDB."""

import asyncio
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field

import structlog

from framematch.catalog.mongo import Database
from framematch.core.errors import FramematchError
from framematch.matching.shadow.comparison import Comparison
from framematch.matching.shadow.counts import ShadowCounts
from framematch.matching.shadow.store import ensure_expiry, write_counts

log = structlog.get_logger()

_WRITE_INTERVAL_S = 5.0
_LAST_WRITE_S = 2.0
# A new pair needs names that were read from MongoDB, so there are many unwritten ones only when it refuses to write.
_MAX_PAIRS = 4


@dataclass(frozen=True)
class Pair:
    """The ids of an active and a shadow snapshot."""

    active: str
    shadow: str


@dataclass
class _Run:
    """What this process counts for a pair: a document, replaced as a whole, so that a write may be repeated."""

    comparison: Comparison = field(default_factory=Comparison)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    written: ShadowCounts | None = None


class Comparisons:
    """One for each pair; those of earlier pairs are kept until they are written."""

    def __init__(self) -> None:
        self._runs: OrderedDict[Pair, _Run] = OrderedDict()

    def of(self, pair: Pair) -> Comparison:
        """The comparison of a pair."""
        if pair not in self._runs:
            self._runs[pair] = _Run()
            if len(self._runs) > _MAX_PAIRS:
                self._runs.popitem(last=False)
        return self._runs[pair].comparison

    async def write(self, database: Database) -> None:
        """Write what was counted since the last time.

        Raises:
            FramematchError: MongoDB is unavailable, or refuses; the next call writes it.
        """
        for pair, run in list(self._runs.items()):
            counts = run.comparison.counts()
            if counts != run.written:
                await write_counts(database, run.id, pair.active, pair.shadow, counts)
                run.written = counts
            elif pair != next(reversed(self._runs)):
                del self._runs[pair]

    async def keep_written(self, database: Database) -> None:
        """Write every few seconds, and once more when cancelled."""
        failing = prepared = False
        try:
            while True:
                await asyncio.sleep(_WRITE_INTERVAL_S)
                try:
                    if self._runs and not prepared:
                        await ensure_expiry(database)
                        prepared = True
                    await self.write(database)
                except FramematchError as error:
                    if not failing:
                        log.warning("shadow_counts_unwritten", error=error.message)
                    failing = True
                else:
                    failing = False
        finally:
            await self._write_last(database)

    async def _write_last(self, database: Database) -> None:
        try:
            async with asyncio.timeout(_LAST_WRITE_S):
                await self.write(database)
        except (FramematchError, TimeoutError) as error:
            log.warning("shadow_counts_lost", error=str(error) or "MongoDB did not answer in time")
