"""The audit log: who changed what, in the collection `audit`. Never a body, never a secret."""

import asyncio
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import pymongo
import structlog
from pymongo import DESCENDING
from pymongo.errors import BulkWriteError

from framematch.catalog.expiry import set_expiry
from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.values import DocumentError, optional_text, required_text, whole_number
from framematch.core.errors import FramematchError
from framematch.core.redact import redact_url
from framematch.core.units import MS_PER_S

log = structlog.get_logger()

QUEUE_MAX: Final = 1_000
"""Entries that wait for MongoDB. Then a request waits a second for room, and its entry goes into the log instead."""
_WAIT_S: Final = 1.0
_BATCH_MAX = 200
_WRITE_TIMEOUT_S = 5.0
_INTERVAL_S = 0.5
_VALUE_MAX = 200  # characters
_S_PER_DAY = 86_400
_DUPLICATE = 11_000


def _now() -> datetime:
    """Now, as MongoDB keeps it: in milliseconds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // MS_PER_S * MS_PER_S)


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True)
class AuditEntry:
    """One change, or one that was refused. `parameters` are those of the path, and what the route adds."""

    principal: str
    kind: str
    key_id: str | None
    client: str
    method: str
    route: str
    parameters: Mapping[str, str]
    status: int
    request_id: str
    at: datetime = field(default_factory=_now)
    id: str = field(default_factory=_new_id)


class AuditLog:
    """Writes entries in the background, in batches; an entry that was written twice is one."""

    def __init__(self, database: Database, *, queue_max: int = QUEUE_MAX, wait_s: float = _WAIT_S) -> None:
        self._database = database
        self._queue: deque[AuditEntry] = deque()
        self._queue_max = queue_max
        self._wait_s = wait_s
        self._write_timeout_s = _WRITE_TIMEOUT_S
        self._written = asyncio.Condition()

    async def add(self, entry: AuditEntry) -> None:
        """Take an entry. While the queue is full, the caller waits, at most a second."""
        if len(self._queue) >= self._queue_max:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s), self._written:
                    await self._written.wait_for(lambda: len(self._queue) < self._queue_max)
        if len(self._queue) < self._queue_max:
            self._queue.append(entry)
        else:
            _log_lost(entry)

    async def run(self, stop: asyncio.Event) -> None:
        """Write what has come every half second until `stop`, and then what is left, if MongoDB takes it."""
        is_last = False
        while not is_last:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _INTERVAL_S)
            is_last = stop.is_set()
            await self._write_all()
        for entry in self._queue:
            _log_lost(entry)

    async def _write_all(self) -> None:
        while batch := list(islice(self._queue, _BATCH_MAX)):
            try:
                with pymongo.timeout(self._write_timeout_s):
                    await write_entries(self._database, batch)
            except FramematchError as error:
                log.warning("audit_delayed", entries=len(self._queue), error=str(error))
                return
            for _ in batch:
                self._queue.popleft()
            async with self._written:
                self._written.notify_all()


async def ensure_audit(database: Database, days: int) -> None:
    """Prepare the collection: entries are deleted after `days`, also if this has been another number.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    with mongo_errors("preparing the collection audit"):
        await database.audit.create_index([("at", DESCENDING), ("_id", DESCENDING)])
        await set_expiry(database, "audit", "at", days * _S_PER_DAY)


async def write_entries(database: Database, entries: Sequence[AuditEntry]) -> None:
    """Store entries; those that are stored already stay as they are."""
    with mongo_errors("writing the audit log"):
        try:
            await database.audit.insert_many([_to_document(entry) for entry in entries], ordered=False)
        except BulkWriteError as error:
            details: Mapping[str, Any] = error.details or {}
            if any(one.get("code") != _DUPLICATE for one in details.get("writeErrors", [])):
                raise


async def read_entries(
    database: Database, query: Document, *, before: tuple[datetime, str] | None, limit: int
) -> list[Document]:
    """At most `limit` documents that fit the query, the newest first, from before a time and id."""
    if before is not None:
        at, entry_id = before
        query = {"$and": [query, {"$or": [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": entry_id}}]}]}
    with mongo_errors("reading the audit log"):
        return await database.audit.find(query).sort([("at", -1), ("_id", -1)]).limit(limit).to_list()


def entry_of(document: Document) -> AuditEntry:
    """The entry in a document.

    Raises:
        DocumentError: it is not one of ours.
    """
    at, parameters = document.get("at"), document.get("parameters")
    if not isinstance(at, datetime) or not isinstance(parameters, dict):
        raise DocumentError("at is no date, or parameters is no object")
    return AuditEntry(
        principal=required_text(document, "principal"),
        kind=required_text(document, "kind"),
        key_id=optional_text(document, "key_id"),
        client=str(document.get("client", "")),
        method=required_text(document, "method"),
        route=required_text(document, "route"),
        parameters={str(name): str(value) for name, value in parameters.items()},
        status=whole_number(document, "status"),
        request_id=required_text(document, "request_id"),
        at=at,
        id=required_text(document, "_id"),
    )


def safe_parameters(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as texts of bounded length, without what looks like a secret."""
    return {name: redact_url(str(value))[:_VALUE_MAX] for name, value in parameters.items()}


def _to_document(entry: AuditEntry) -> Document:
    document = asdict(entry)
    document["_id"] = document.pop("id")
    return document


def _log_lost(entry: AuditEntry) -> None:
    log.error(
        "audit_entry_lost", at=entry.at.isoformat(), principal=entry.principal, key_id=entry.key_id,
        method=entry.method, route=entry.route, parameters=dict(entry.parameters), status=entry.status,
        request_id=entry.request_id,
    )  # fmt: skip
