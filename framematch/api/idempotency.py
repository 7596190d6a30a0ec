"""`Idempotency-Key`: a request that creates something and is sent twice creates it once."""

import hashlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from bson.binary import Binary
from fastapi import Header
from pymongo.errors import DuplicateKeyError

from framematch.api.access.principal import Principal
from framematch.api.problems import Problem
from framematch.catalog.mongo import Database, Document, mongo_errors

KEPT: Final = timedelta(hours=24)
_TAKEN_OVER_AFTER: Final = timedelta(seconds=60)  # no request takes so long: its process was killed

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="any text of yours: the same request with the same key within 24 h creates nothing again",
    ),
]


@dataclass(frozen=True)
class MadeAnswer:
    """An answer as it is sent, and kept for a repetition."""

    status: int
    headers: dict[str, str]
    body: bytes
    replayed: bool = False


Make = Callable[[str, bool], Awaitable[MadeAnswer]]
"""Creates the resource with this id. True: an earlier request may have created it already."""


async def ensure_expiry(database: Database) -> None:
    """Let MongoDB remove keys after a day."""
    with mongo_errors("preparing the collection idempotency"):
        await database.idempotency.create_index("at", expireAfterSeconds=int(KEPT.total_seconds()))


async def once(database: Database, principal: Principal, key: str, request: bytes, make: Make) -> MadeAnswer:
    """The answer of `make`, which is called once for each key of a principal; then its first answer is repeated.

    `request` is all that makes two requests the same. When `make` fails, the key is free again.

    Raises:
        Problem: the key was used for another request, or the first one has not ended yet (409).
        MongoUnavailableError: MongoDB became unavailable.
    """
    name = hashlib.sha256(f"{principal.identity}\n{key}".encode()).hexdigest()
    digest = hashlib.sha256(request).hexdigest()
    fresh: Document = {"_id": name, "request": digest, "resource": uuid.uuid4().hex, "at": datetime.now(UTC)}
    with mongo_errors("writing an idempotency key"):
        await database.idempotency.delete_one({"_id": name, "at": {"$lt": datetime.now(UTC) - KEPT}})
        try:
            await database.idempotency.insert_one(fresh)
            known: Document | None = None
        except DuplicateKeyError:
            known = await database.idempotency.find_one({"_id": name})
    if known is not None:
        if known.get("request") != digest:
            raise Problem(
                409, "idempotency_conflict", "this Idempotency-Key was used for another request",
                hint="Make a new key for each thing that you create",
            )  # fmt: skip
        if isinstance(body := known.get("body"), bytes):
            return MadeAnswer(known["status"], dict(known["headers"]), body, replayed=True)
        fresh = await _take_over(database, name)
    try:
        answer = await make(fresh["resource"], known is not None)
    except BaseException:
        with mongo_errors("freeing an idempotency key"):
            await database.idempotency.delete_one({"_id": name})
        raise
    kept = {"status": answer.status, "headers": answer.headers, "body": Binary(answer.body)}
    with mongo_errors("writing an idempotency key"):
        await database.idempotency.update_one({"_id": name}, {"$set": kept})
    return answer


def derived_id(principal: Principal, kind: str, key: str) -> str:
    """An id that is the same for the same key of a principal, and that nobody else can guess."""
    return hashlib.sha256(f"{principal.identity}\n{kind}\n{key}".encode()).hexdigest()[:32]


async def _take_over(database: Database, name: str) -> Document:
    """The key of a request whose process was killed.

    Raises:
        Problem: the request has not ended yet (409).
    """
    now = datetime.now(UTC)
    with mongo_errors("writing an idempotency key"):
        taken = await database.idempotency.find_one_and_update(
            {"_id": name, "at": {"$lt": now - _TAKEN_OVER_AFTER}}, {"$set": {"at": now}}
        )
    if taken is None:
        raise Problem(
            409, "idempotency_in_progress", "the first request with this Idempotency-Key has not ended yet",
            hint="Repeat it in a second", headers={"Retry-After": "1"},
        )  # fmt: skip
    return taken
