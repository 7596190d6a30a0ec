"""Reads the archive: pages of events, in the order of their time or in the order in which they were stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any, Literal

import msgspec
import structlog
from pymongo import ASCENDING, DESCENDING

from framematch.archive.arrival import Arrival, archived
from framematch.archive.entries import TIMES, CollectionName
from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.core.units import MS_PER_S

log = structlog.get_logger()

Order = Literal["time", "arrival"]
_TIMEOUT_S = 10.0
_BEFORE_ALL_US = -(2**62)
_WINDOW = 100_000  # by arrival one page looks at so many events, whatever the filters select


@dataclass(frozen=True)
class Wanted:
    """Which events. `values` are the allowed ones of some fields; `since_us` is inclusive, `until_us` is not.

    `cameras` are globs of the cameras that may be seen; None: all of them.
    """

    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    since_us: int | None = None
    until_us: int | None = None
    min_score: float | None = None
    cameras: Sequence[str] | None = None


@dataclass(frozen=True)
class Page:
    """The JSON of events, as it was published, and where the next page starts; None at the end of the list."""

    events: list[str]
    position: list[Any] | None


class ArchiveQueries:
    """Reads the collections of the archive.

    All methods raise MongoUnavailableError, also when a query takes too long, and CatalogError when MongoDB refuses.
    """

    def __init__(self, database: Database, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._database = database
        self._timeout_ms = int(timeout_s * MS_PER_S)

    async def page(
        self, name: CollectionName, wanted: Wanted, order: Order, size: int, after: Sequence[Any] | None
    ) -> Page:
        """The events after the position of the page before; `after` is None for the first page.

        By time the newest come first, and the list ends. By arrival the oldest come first, and there is always a
        position, from which to ask again: no event is ever stored before it.
        """
        if order == "arrival":
            return await self._by_arrival(name, wanted, size, int(after[0]) if after else 0)
        return await self._by_time(name, wanted, size, after)

    async def one(self, name: CollectionName, identity: str, cameras: Sequence[str] | None) -> str | None:
        """The event, or the newest state of the sighting, with this id; None if there is none that may be seen."""
        found = await self._find(name, [{"_id": identity}, *_seen(cameras)], [("_id", ASCENDING)], 1)
        return _event(name, found[0]) if found else None

    async def _by_time(self, name: CollectionName, wanted: Wanted, size: int, after: Sequence[Any] | None) -> Page:
        at = f"{TIMES[name]}_us"
        conditions = _conditions(wanted, at)
        if after:
            last_us, last_id = int(after[0]), str(after[1])
            # The first one bounds the index, the second one tells apart events of the same time.
            conditions += [{at: {"$lte": last_us}}, {"$or": [{at: {"$lt": last_us}}, {"_id": {"$lt": last_id}}]}]
        found = await self._find(name, conditions, [(at, DESCENDING), ("_id", DESCENDING)], size + 1)
        last = found[size - 1] if len(found) > size else None
        return Page(_events(name, found[:size]), None if last is None else [last[at], last["_id"]])

    async def _by_arrival(self, name: CollectionName, wanted: Wanted, size: int, after: int) -> Page:
        end = await Arrival(self._database, name).visible_below()
        if oldest := await self._find(name, [{"seq": {"$gt": after}}], [("seq", ASCENDING)], 1):
            end = min(end, oldest[0]["seq"] + _WINDOW)  # older numbers may be deleted
        conditions = [*_conditions(wanted, f"{TIMES[name]}_us"), {"seq": {"$gt": after, "$lt": end}}]
        found = await self._find(name, conditions, [("seq", ASCENDING)], size)
        last = found[-1]["seq"] if len(found) == size else max(after, end - 1)
        return Page(_events(name, found), [last])

    async def _find(
        self, name: CollectionName, conditions: list[Document], order: Sequence[tuple[str, int]], size: int
    ) -> list[Document]:
        fields = ["event", "seq", f"{TIMES[name]}_us"]
        with mongo_errors(f"reading {name}"):
            cursor = archived(self._database, name).find({"$and": conditions}, fields, sort=order, limit=size)
            return await cursor.max_time_ms(self._timeout_ms).to_list()


def _conditions(wanted: Wanted, at: str) -> list[Document]:
    """All of them hold. The time has a lower bound in any case: a document of somebody else may have none."""
    conditions: list[Document] = [{name: {"$in": list(values)}} for name, values in wanted.values.items() if values]
    conditions.append({at: {"$gte": _BEFORE_ALL_US if wanted.since_us is None else wanted.since_us}})
    if wanted.until_us is not None:
        conditions.append({at: {"$lt": wanted.until_us}})
    if wanted.min_score is not None:
        conditions.append({"score": {"$gte": wanted.min_score}})
    return [*conditions, *_seen(wanted.cameras)]


def _seen(cameras: Sequence[str] | None) -> list[Document]:
    """The condition that the camera may be seen. Globs become the regular expressions that Python makes of them."""
    if cameras is None:
        return []
    pattern = "|".join(map(translate, cameras)) or "(?!)"
    return [{"camera": {"$regex": f"^(?:{pattern})"}}]


def _events(name: CollectionName, found: Sequence[Document]) -> list[str]:
    return [event for document in found if (event := _event(name, document)) is not None]


def _event(name: CollectionName, document: Document) -> str | None:
    """The event's JSON; None if somebody else has written something else."""
    event: Any = document.get("event")
    try:
        msgspec.json.decode(event, type=msgspec.Raw)
    except (msgspec.DecodeError, TypeError) as error:
        log.warning("archived_event_unreadable", collection=name, id=str(document["_id"])[:100], error=str(error))
        return None
    return str(event)
