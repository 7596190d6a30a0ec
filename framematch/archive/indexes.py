"""The indexes of the archive: for the orders of the queries, and to delete what is old."""

from pymongo import ASCENDING, DESCENDING, IndexModel

from framematch.archive.entries import COLLECTIONS, TIMES, CollectionName
from framematch.catalog.expiry import set_expiry
from framematch.catalog.mongo import Database, mongo_errors
from framematch.core.settings import ArchiveSettings

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
            await set_expiry(database, name, "archived_at", round(days[name] * _S_PER_DAY))


def _indexes(name: CollectionName) -> list[IndexModel]:
    order = [(f"{TIMES[name]}_us", DESCENDING), ("_id", DESCENDING)]
    return [
        IndexModel(order),
        *(IndexModel([(field, ASCENDING), *order]) for field in _FILTERS[name]),
        IndexModel([("seq", ASCENDING)]),
    ]
