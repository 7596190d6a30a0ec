"""The order in which documents were stored, such that whoever polls never misses one.

Each document has a number. A writer reserves the numbers of a batch before it writes, and releases the reservation
when MongoDB has acknowledged the batch. Readers see the numbers below the lowest reservation: none of these can appear
later.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog
from pymongo import DESCENDING, ReadPreference, ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern

from framematch.archive.entries import CollectionName
from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.core.errors import MongoUnavailableError
from framematch.core.units import MS_PER_S

log = structlog.get_logger()

ACKNOWLEDGE_S = 10.0
"""How long a majority of the replicas may take to acknowledge a write."""
STATE = "archive_state"
WRITE_S = 20.0
"""How long a batch may take, with the driver's own retries."""
ABANDONED_S = 60.0
"""More than twice as long: a reservation of this age belongs to a writer that is gone."""
_TRIES = 100


@dataclass(frozen=True)
class Reservation:
    """The numbers from `first` on, for one batch."""

    key: str
    first: int
    at_s: float


def _now_s() -> float:
    """Goes on while the process, or the machine, sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def archived(database: Database, name: str) -> AsyncCollection[Document]:
    """A collection of the archive. Whatever the URI says, reads see all acknowledged writes, and these last."""
    concern = WriteConcern("majority", wtimeout=int(ACKNOWLEDGE_S * MS_PER_S))
    return database.get_collection(name, read_preference=ReadPreference.PRIMARY, write_concern=concern)


@asynccontextmanager
async def within(limit_s: float, doing: str) -> AsyncIterator[None]:
    """Raise MongoUnavailableError when the block takes longer; the driver alone would wait and retry for a minute."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError:
        raise MongoUnavailableError(
            f"MongoDB did not answer within {limit_s:g} s while {doing}", hint="Check that it runs"
        ) from None


class Arrival:
    """The numbers of one collection, for its writers and its readers. All methods raise as `mongo_errors`."""

    def __init__(self, database: Database, name: CollectionName, *, clock: Callable[[], float] = _now_s) -> None:
        self._name = name
        self._state = archived(database, STATE)
        self._documents = archived(database, name)
        self._clock = clock
        self._next: int | None = None
        self._open: set[str] = set()  # of this process
        self._seen: dict[str, float] = {}

    async def reserve(self, count: int) -> Reservation:
        """Numbers for `count` documents."""
        key = uuid.uuid4().hex
        with mongo_errors("numbering events"):
            for _ in range(_TRIES):
                first = await self._known_next() if self._next is None else self._next
                found = await self._state.find_one_and_update(
                    {"_id": self._name, "next": first},
                    {"$inc": {"next": count}, "$set": {f"open.{key}": first}},
                    return_document=ReturnDocument.AFTER,
                )
                if found is not None:
                    self._next = int(found["next"])
                    self._open.add(key)
                    return Reservation(key, first, self._clock())
                self._next = None  # another writer was faster
        raise RuntimeError("no numbers for events: too many writers at once")

    def check(self, reservation: Reservation) -> None:
        """Nobody can have taken its writer for gone.

        Raises:
            MongoUnavailableError: this process was frozen meanwhile.
        """
        if self._clock() - reservation.at_s > WRITE_S:
            raise MongoUnavailableError("this process was frozen", hint="The batch is written again")

    async def release(self, reservation: Reservation) -> None:
        """All documents of the reservation are stored, or never will be."""
        with mongo_errors("numbering events"):
            await self._state.update_one({"_id": self._name}, {"$unset": {f"open.{reservation.key}": ""}})
        self._open.discard(reservation.key)

    def abandon(self, reservation: Reservation) -> None:
        """MongoDB may still store documents of it: it stays open until it counts as abandoned."""
        self._open.discard(reservation.key)

    async def close_abandoned(self) -> None:
        """Release what writers have left that are gone; call it every few seconds."""
        with mongo_errors("numbering events"):
            found = await self._state.find_one({"_id": self._name})
            others = {key for key in _open(found) if key not in self._open}
            now_s = self._clock()
            self._seen = {key: self._seen.get(key, now_s) for key in others}
            for key in [key for key, since_s in self._seen.items() if now_s - since_s >= ABANDONED_S]:
                log.warning("reservation_abandoned", collection=self._name, first=_open(found)[key])
                await self._state.update_one({"_id": self._name}, {"$unset": {f"open.{key}": ""}})

    async def visible_below(self) -> int:
        """Every document with a lower number is stored, and none with a lower number will be."""
        with mongo_errors("reading events"):
            found = await self._state.find_one({"_id": self._name})
        return min([*_open(found).values(), int(found["next"])]) if found else 0

    async def _known_next(self) -> int:
        """The next number; it is above those of all documents, also if somebody has deleted the state."""
        with mongo_errors("numbering events"):
            found = await self._state.find_one({"_id": self._name})
            if found is None:
                last = await self._documents.find_one({}, {"seq": 1}, sort=[("seq", DESCENDING)])
                state = {"_id": self._name, "next": (last or {}).get("seq", 0) + 1, "open": {}}
                with suppress(DuplicateKeyError):  # another writer was faster
                    await self._state.insert_one(state)
                found = await self._state.find_one({"_id": self._name})
        return int((found or {})["next"])


def _open(found: dict[str, Any] | None) -> dict[str, int]:
    return dict((found or {}).get("open") or {})
