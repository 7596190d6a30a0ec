"""Writes batches of entries to MongoDB: what is stored already is not changed, and one bad document stops no batch."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from framematch.archive.arrival import WRITE_S, Arrival, archived, within
from framematch.archive.entries import COLLECTIONS, CollectionName, Entry, newest
from framematch.archive.metrics import ArchiveMetrics
from framematch.archive.refusals import Refusal, report
from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.core.errors import CatalogError, MongoUnavailableError
from framematch.core.redact import redact_url

_DUPLICATE = 11000
# What MongoDB says of a document that it will never take: BadValue, FailedToParse, TypeMismatch, InvalidBSON,
# DocumentValidationFailure, BSONObjectTooLarge, KeyTooLong. Anything else, such as a full disk, may be over later.
_BAD_DOCUMENT = {2, 9, 14, 22, 121, 10334, 17280}

Operation = InsertOne[Document] | UpdateOne


class ArchiveWriter:
    """Writes to the three collections."""

    def __init__(self, database: Database, metrics: ArchiveMetrics) -> None:
        self._metrics = metrics
        self._collections = {name: archived(database, name) for name in COLLECTIONS}
        self._arrivals = {name: Arrival(database, name) for name in COLLECTIONS}

    async def write(self, entries: Sequence[Entry]) -> None:
        """Store all that MongoDB takes; a document that it will never take is logged and counted.

        Raises:
            MongoUnavailableError: MongoDB does not answer. Nothing is known of the batch: write it again.
            CatalogError: MongoDB refuses for a reason that may pass, such as a full disk: write it again.
        """
        each = newest(entries)
        for name in COLLECTIONS:
            if wanted := [entry for entry in each if entry.collection == name]:
                await self._write(name, wanted)

    async def close_abandoned(self) -> None:
        """Let readers see what writers have stored that are gone; call it every few seconds."""
        for arrival in self._arrivals.values():
            await arrival.close_abandoned()

    async def _write(self, name: CollectionName, entries: Sequence[Entry]) -> None:
        arrival = self._arrivals[name]
        reservation = await arrival.reserve(len(entries))
        try:
            now = datetime.now(UTC)
            changes = [
                {**entry.fields, "seq": reservation.first + at, "archived_at": now} for at, entry in enumerate(entries)
            ]
            arrival.check(reservation)
            async with within(WRITE_S, f"storing {name}"):
                await self._store(name, entries, changes)
        except CatalogError:
            await arrival.release(reservation)
            raise
        except BaseException:
            arrival.abandon(reservation)
            raise
        await arrival.release(reservation)

    async def _store(self, name: CollectionName, entries: Sequence[Entry], changes: Sequence[Document]) -> None:
        pairs = list(zip(entries, changes, strict=True))
        errors = await self._bulk(name, [_upsert(entry, change) for entry, change in pairs])
        repeated = [pairs[at] for at, error in errors.items() if error.get("code") == _DUPLICATE]
        refused = [
            Refusal(entries[at].place, "refused", str(error.get("errmsg")))
            for at, error in errors.items()
            if error.get("code") in _BAD_DOCUMENT
        ]
        passing = [error for error in errors.values() if error.get("code") not in {_DUPLICATE, *_BAD_DOCUMENT}]
        updated = await self._update(name, repeated) if name == "sightings" and repeated else 0
        self._count(name, "stored", len(entries) - len(errors) + updated)
        self._count(name, "repeated", len(repeated) - updated)
        report(refused, self._metrics)
        if passing:
            raise CatalogError(
                f"MongoDB refused {len(passing)} {name}: {redact_url(str(passing[0].get('errmsg')))}",
                hint="Check its disk and its log; they are written again",
            )

    async def _bulk(self, name: CollectionName, operations: Sequence[Operation]) -> dict[int, dict[str, Any]]:
        """The errors by the index of their operation."""
        with mongo_errors(f"storing {name}"):
            try:
                await self._collections[name].bulk_write(operations, ordered=False)
            except BulkWriteError as error:
                details = error.details or {}
                if details.get("writeConcernErrors"):
                    raise MongoUnavailableError(
                        f"a majority of MongoDB's replicas did not acknowledge {name}", hint="Check the replica set"
                    ) from None
                return {one["index"]: one for one in details["writeErrors"]}
        return {}

    async def _update(self, name: CollectionName, pairs: Sequence[tuple[Entry, Document]]) -> int:
        """Sightings that are there already: those of an older state become newer. Returns how many did."""
        operations = [UpdateOne(_older(entry), {"$set": _change(entry, change)}) for entry, change in pairs]
        with mongo_errors(f"storing {name}"):
            return (await self._collections[name].bulk_write(operations, ordered=False)).modified_count

    def _count(self, name: CollectionName, outcome: str, number: int) -> None:
        self._metrics.events.labels(name, outcome, "").inc(number)


def _upsert(entry: Entry, change: Document) -> Operation:
    if entry.version is None:
        return InsertOne({"_id": entry.id, **change})
    return UpdateOne(_older(entry), {"$set": _change(entry, change)}, upsert=True)


def _older(entry: Entry) -> Document:
    return {"_id": entry.id, "version": {"$lt": entry.version}}


def _change(entry: Entry, change: Document) -> Document:
    return {**change, "version": entry.version}
