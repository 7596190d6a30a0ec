"""Stores in MongoDB what consumers count of a shadow snapshot: a document for each of their runs, summed when read."""

from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.values import DocumentError, shown
from framematch.matching.shadow.counts import ShadowCounts, merged
from framematch.matching.shadow.report import ShadowReport

log = structlog.get_logger()

_KEPT_S: Final = 90 * 24 * 3600


async def ensure_expiry(database: Database) -> None:
    """Let MongoDB remove the counts of pairs that were last compared 90 days ago.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
        CatalogError: MongoDB refuses.
    """
    with mongo_errors("preparing the collection shadow_reports"):
        await database.shadow_reports.create_index("at", expireAfterSeconds=_KEPT_S)


async def write_counts(database: Database, run: str, active: str, shadow: str, counts: ShadowCounts) -> None:
    """Replace what this run of a process has counted; writing it twice changes nothing.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
        CatalogError: MongoDB refuses.
    """
    document = {"active": active, "shadow": shadow, "at": datetime.now(UTC), "counts": msgspec.to_builtins(counts)}
    with mongo_errors("writing the counts of the shadow"):
        await database.shadow_reports.replace_one({"_id": run}, document, upsert=True)


async def read_report(database: Database, active: str, shadow: str) -> ShadowReport:
    """The counts of all processes together; a document that is not ours is left out and logged.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    parts = []
    with mongo_errors("reading the counts of the shadow"):
        pair = {"active": active, "shadow": shadow}
        runs = [document["_id"] async for document in database.shadow_reports.find(pair, {"_id": 1})]
        for run in runs:  # one at a time: together they may be more than a reply takes
            document = await database.shadow_reports.find_one({"_id": run})
            try:
                parts.append(_to_counts(document or {}))
            except DocumentError as error:
                log.warning("shadow_counts_unreadable", run=shown(run), error=str(error))
    return ShadowReport(active, shadow, merged(parts))


def _to_counts(document: Document) -> ShadowCounts:
    try:
        counts = msgspec.convert(document.get("counts"), ShadowCounts)
    except msgspec.ValidationError as error:
        raise DocumentError(str(error)) from None
    if not counts.consistent:
        raise DocumentError("its numbers do not agree with each other")
    return counts
