"""Which snapshot each serving process has: a document of its own, written every few seconds and on each change."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.values import DocumentError, optional_text, required_text, shown, whole_number

log = structlog.get_logger()

INTERVAL_S: Final = 5.0
"""How often a process writes its document while nothing changes."""
MAX_AGE_S: Final = 15.0
"""An older document is of a process that has ended without removing it, or cannot reach MongoDB."""

CAMERAS_MAX: Final = 100
"""Of the cameras in a document."""

_REMOVED_AFTER_S = 3600


@dataclass(frozen=True)
class RefusedSnapshot:
    """A snapshot that the process was told to serve and cannot, and why."""

    snapshot: str
    reason: str


@dataclass(frozen=True)
class ServingStatus:
    """What one process serves. `instance` is unique for each start; `delta` is the last change that it searches.

    `stale_cameras` are cameras, at most 100, whose similarities are not those that the snapshot was calibrated by.
    """

    instance: str
    host: str
    pid: int
    service: str
    snapshot: str
    delta: int
    shadow: str | None
    names_version: int
    refused: RefusedSnapshot | None = None
    stale_cameras: tuple[str, ...] = ()


async def ensure_expiry(database: Database) -> None:
    """Let MongoDB remove the documents of processes that were killed, after an hour."""
    with mongo_errors("preparing the collection serving"):
        await database.serving.create_index("at", expireAfterSeconds=_REMOVED_AFTER_S)


async def write_status(database: Database, status: ServingStatus) -> None:
    """Write the document of this process.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    refused = status.refused
    fields: Document = {
        "host": status.host,
        "pid": status.pid,
        "service": status.service,
        "snapshot": status.snapshot,
        "delta": status.delta,
        "shadow": status.shadow,
        "names_version": status.names_version,
        "refused": {"snapshot": refused.snapshot, "reason": refused.reason} if refused else None,
        "stale_cameras": list(status.stale_cameras),
        "at": datetime.now(UTC),
    }
    with mongo_errors("writing which snapshot is served"):
        await database.serving.replace_one({"_id": status.instance}, fields, upsert=True)


async def remove_status(database: Database, instance: str) -> None:
    """Remove the document of a process that ends."""
    with mongo_errors("removing which snapshot is served"):
        await database.serving.delete_one({"_id": instance})


async def read_statuses(database: Database) -> list[ServingStatus]:
    """What the running processes serve, by host and process id; a document that is not ours is left out and logged.

    The clocks of the hosts may differ by a few seconds.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    since = datetime.now(UTC) - timedelta(seconds=MAX_AGE_S)
    with mongo_errors("reading which snapshots are served"):
        documents = await database.serving.find({"at": {"$gt": since}}).to_list()
    found = []
    for document in documents:
        try:
            found.append(_to_status(document))
        except DocumentError as error:
            log.warning("serving_status_unreadable", instance=shown(document.get("_id")), error=str(error))
    return sorted(found, key=lambda status: (status.host, status.pid, status.instance))


def served_by(statuses: Iterable[ServingStatus], snapshot_id: str) -> int:
    """How many processes serve this snapshot."""
    return sum(status.snapshot == snapshot_id for status in statuses)


def _to_status(document: Document) -> ServingStatus:
    refused = document.get("refused")
    if refused is not None and not isinstance(refused, dict):
        raise DocumentError(f"refused is {shown(refused)}, not an object")
    stale_cameras = document.get("stale_cameras", [])  # older versions write none
    if not isinstance(stale_cameras, list) or not all(isinstance(one, str) for one in stale_cameras):
        raise DocumentError(f"stale_cameras is {shown(stale_cameras)}, not a list of texts")
    return ServingStatus(
        instance=required_text(document, "_id"),
        host=required_text(document, "host"),
        pid=whole_number(document, "pid", at_least=1),
        service=required_text(document, "service"),
        snapshot=required_text(document, "snapshot"),
        delta=whole_number(document, "delta"),
        shadow=optional_text(document, "shadow"),
        names_version=whole_number(document, "names_version"),
        refused=RefusedSnapshot(required_text(refused, "snapshot"), required_text(refused, "reason"))
        if refused
        else None,
        stale_cameras=tuple(stale_cameras[:CAMERAS_MAX]),
    )
