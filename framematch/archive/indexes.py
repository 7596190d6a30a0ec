"""The indexes of the archive: for the orders of the queries, and to delete what is old."""

import structlog
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import OperationFailure

from framematch.archive.entries import COLLECTIONS, TIMES, CollectionName
from framematch.catalog.mongo import Database, mongo_errors
from framematch.core.settings import ArchiveSettings

log = structlog.get_logger()

_EXPIRES = "expires"
_COMMAND_NOT_FOUND = 59  # of servers that only speak MongoDB's protocol
_S_PER_DAY = 86_400
_FILTERS: dict[CollectionName, tuple[str, ...]] = {
    "matches": ("camera", "product"),
    "sightings": ("camera", "product"),
    "logs": ("service", "name"),
}


async def ensure_indexes(database: Database, settings: ArchiveSettings) -> None:
    """Create what is missing, and change after how many days documents are deleted, if the settings say something else.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
        CatalogError: MongoDB refuses.
    """
    days = {
        "matches": settings.matches_days,
        "sightings": settings.sightings_days,
        "logs": settings.logs_days,
    }
    with mongo_errors("creating the indexes of the archive"):
        for name in COLLECTIONS:
            await database[name].create_indexes(list(_indexes(name)))
            await _expire(database, name, round(days[name] * _S_PER_DAY))


def _indexes(name: CollectionName) -> list[IndexModel]:
    order = [(f"{TIMES[name]}_us", DESCENDING), ("_id", DESCENDING)]
    return [
        IndexModel(order),
        *(IndexModel([(field, ASCENDING), *order]) for field in _FILTERS[name]),
        IndexModel([("seq", ASCENDING)]),
    ]


async def _expire(database: Database, name: CollectionName, after_s: int) -> None:
    collection = database[name]
    known = (await collection.index_information()).get(_EXPIRES, {}).get("expireAfterSeconds")
    if known is not None and round(known) == after_s:
        return
    if known is not None and after_s:
        log.info("retention_changed", collection=name, from_s=round(known), to_s=after_s)
        try:
            await database.command("collMod", name, index={"name": _EXPIRES, "expireAfterSeconds": after_s})
        except OperationFailure as error:
            if error.code != _COMMAND_NOT_FOUND:
                raise
        else:
            return
    if known is not None:
        await collection.drop_index(_EXPIRES)
    if after_s:
        await collection.create_index([("archived_at", ASCENDING)], name=_EXPIRES, expireAfterSeconds=after_s)
