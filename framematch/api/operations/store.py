"""The collection `operations`: who runs which operation, and what became of it. Each change is one step of MongoDB.

A process that runs an operation has its lease: a token that nobody else has, and the time of the last heartbeat. It
writes only while the token is the document's, so a process that was taken for dead changes nothing any more.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from framematch.api.operations.operation import (
    ENDED,
    Kind,
    Operation,
    OperationError,
    Progress,
    State,
    to_document,
    to_operation,
)
from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.values import shown

log = structlog.get_logger()

ATTEMPTS_MAX: Final = 3
"""An operation whose process was killed so often has failed: it may be what kills it."""
LEASE_S: Final = 30.0
"""Without a heartbeat for this time its process is taken for dead. Clocks of hosts may differ by seconds."""

_LOST = OperationError(500, "internal", "the process that ran it ended without a word", "Start it again")


@dataclass(frozen=True)
class Claim:
    """An operation that this process may run, and the token of its lease."""

    operation: Operation
    token: str


class OperationStore:
    """The operations of one database."""

    def __init__(self, database: Database, *, lease_s: float = LEASE_S) -> None:
        self.database = database
        self._operations = database.operations
        self._lease = timedelta(seconds=lease_s)

    async def ensure_indexes(self) -> None:
        """Create the indexes that queries need, if they are missing."""
        with mongo_errors("creating indexes"):
            await self._operations.create_index([("created_at", -1), ("_id", -1)])
            await self._operations.create_index([("state", 1), ("created_at", 1)])

    async def create(
        self, kind: Kind, parameters: Mapping[str, Any], *, created_by: str, operation_id: str = ""
    ) -> Operation:
        """Queue an operation; with the id of one that exists, return that one."""
        operation = Operation(
            id=operation_id or new_operation_id(),
            kind=kind,
            state="queued",
            created_at=_now(),
            created_by=created_by,
            parameters=dict(parameters),
        )
        with mongo_errors("creating an operation"):
            try:
                await self._operations.insert_one(to_document(operation))
            except DuplicateKeyError:
                return await self.get(operation.id) or operation
        log.info("operation_created", operation=operation.id, kind=kind)
        return operation

    async def get(self, operation_id: str) -> Operation | None:
        """The operation with this id; None when there is none."""
        with mongo_errors("reading an operation"):
            document = await self._operations.find_one({"_id": operation_id})
        return None if document is None else _readable(document)

    async def page(
        self, *, kind: Kind | None, state: State | None, before: tuple[datetime, str] | None, limit: int
    ) -> list[Operation]:
        """Up to `limit` operations, the newest first, that come behind `before` (`created_at` and id)."""
        wanted: Document = {}
        if kind is not None:
            wanted["kind"] = kind
        if state is not None:
            wanted["state"] = state
        if before is not None:
            at, operation_id = before
            wanted["$or"] = [{"created_at": {"$lt": at}}, {"created_at": at, "_id": {"$lt": operation_id}}]
        with mongo_errors("listing operations"):
            found = self._operations.find(wanted).sort([("created_at", -1), ("_id", -1)]).limit(limit)
            documents = await found.to_list()
        return [operation for document in documents if (operation := _readable(document))]

    async def claim(self) -> Claim | None:
        """Take over the oldest operation that waits, or whose process is dead; None when there is none.

        One that has been started too often fails instead.
        """
        now, token = _now(), uuid.uuid4().hex
        dead = {"state": "running", "lease.at": {"$lt": now - self._lease}}
        lost = {"state": "failed", "ended_at": now, "error": msgspec.to_builtins(_LOST)}
        with mongo_errors("looking for operations to run"):
            await self._operations.update_many({**dead, "attempts": {"$gte": ATTEMPTS_MAX}}, {"$set": lost})
            for waiting in ({"state": "queued"}, dead):
                document = await self._operations.find_one_and_update(
                    waiting,
                    {
                        "$set": {"state": "running", "started_at": now, "lease": {"token": token, "at": now}},
                        "$inc": {"attempts": 1},
                    },
                    sort=[("created_at", 1)],
                    return_document=ReturnDocument.AFTER,
                )
                if document is not None and (operation := _readable(document)):
                    log.info("operation_started", operation=operation.id, attempt=operation.attempts)
                    return Claim(operation, token)
        return None

    async def heartbeat(self, claim: Claim, progress: Progress | None = None) -> Operation | None:
        """Renew the lease; returns the operation as it is now, or None when another process has taken it over."""
        fields: Document = {"lease.at": _now()}
        if progress is not None:
            fields["progress"] = msgspec.to_builtins(progress)
        return await self._change(claim, {"$set": fields})

    async def finish(
        self,
        claim: Claim,
        state: State,
        *,
        result: Mapping[str, Any] | None = None,
        error: OperationError | None = None,
    ) -> bool:
        """Say how it ended; False when another process has taken it over."""
        fields: Document = {
            "state": state,
            "ended_at": _now(),
            "result": None if result is None else dict(result),
            "error": msgspec.to_builtins(error),
        }
        ended = await self._change(claim, {"$set": fields, "$unset": {"lease": ""}})
        if ended is not None:
            log.info("operation_ended", operation=claim.operation.id, state=state, error=error and error.message)
        return ended is not None

    async def hand_back(self, claim: Claim) -> None:
        """Let another process run it from its start, at once and without counting this attempt."""
        change = {"$set": {"state": "queued"}, "$unset": {"lease": ""}, "$inc": {"attempts": -1}}
        if await self._change(claim, change) is not None:
            log.info("operation_handed_back", operation=claim.operation.id)

    async def settle(self, claim: Claim, reason: str) -> None:
        """Its process has ended, and perhaps could not say how: then it is cancelled, queued again, or has failed."""
        current = await self.heartbeat(claim)
        if current is None:
            return
        if current.cancel_requested:
            await self.finish(claim, "cancelled")
        elif current.attempts >= ATTEMPTS_MAX:
            text = f"its process ended {current.attempts} times: {reason}"
            error = OperationError(500, "internal", text, "See the log")
            await self.finish(claim, "failed", error=error)
        else:
            log.warning("operation_process_died", operation=current.id, attempt=current.attempts, reason=reason)
            await self._change(claim, {"$set": {"state": "queued"}, "$unset": {"lease": ""}})

    async def request_cancel(self, operation_id: str) -> Operation | None:
        """Cancel it: at once if it waits, else its process is told to. None when there is none.

        One that has ended stays as it is.
        """
        now = _now()
        cancelled = {"state": "cancelled", "ended_at": now, "cancel_requested": True}
        with mongo_errors("cancelling an operation"):
            # One that is handed back meanwhile waits again.
            for state in ("queued", "running", "queued"):
                fields = cancelled if state == "queued" else {"cancel_requested": True}
                document = await self._operations.find_one_and_update(
                    {"_id": operation_id, "state": state}, {"$set": fields}, return_document=ReturnDocument.AFTER
                )
                if document is not None:
                    return _readable(document)
        return await self.get(operation_id)

    async def ended_before(self, time: datetime) -> list[str]:
        """The ids of operations that ended before this time."""
        wanted = {"state": {"$in": list(ENDED)}, "ended_at": {"$lt": time}}
        with mongo_errors("looking for old operations"):
            return [str(document["_id"]) async for document in self._operations.find(wanted, {"_id": 1})]

    async def needs_files(self, owner: str) -> bool:
        """Whether files of this owner are still needed: by an operation with this id, or by an import of an upload."""
        waiting = {"parameters.upload": owner, "state": {"$nin": list(ENDED)}}
        with mongo_errors("looking for old operations"):
            return await self._operations.find_one({"$or": [{"_id": owner}, waiting]}, {"_id": 1}) is not None

    async def delete(self, ids: Sequence[str]) -> None:
        """Delete operations that have ended."""
        with mongo_errors("deleting old operations"):
            await self._operations.delete_many({"_id": {"$in": list(ids)}, "state": {"$in": list(ENDED)}})

    async def _change(self, claim: Claim, change: Document) -> Operation | None:
        mine = {"_id": claim.operation.id, "state": "running", "lease.token": claim.token}
        with mongo_errors("writing the state of an operation"):
            document = await self._operations.find_one_and_update(mine, change, return_document=ReturnDocument.AFTER)
        return None if document is None else _readable(document)


def new_operation_id() -> str:
    """An id that nobody can guess."""
    return uuid.uuid4().hex


def _readable(document: Document) -> Operation | None:
    try:
        return to_operation(document)
    except msgspec.ValidationError as error:
        log.warning("operation_unreadable", operation=shown(document.get("_id")), error=str(error))
        return None


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)  # as MongoDB keeps it
