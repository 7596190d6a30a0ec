"""Keeps API keys in MongoDB: the collection `api_keys`. Documents are checked where they are read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog
from bson.binary import Binary
from pymongo import UpdateOne

from framematch.api.access.keys import ApiKey, digest_of, is_key_id, key_text, new_key_id, new_secret
from framematch.api.access.principal import known_scopes
from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.values import DocumentError, required_text, shown, whole_number

log = structlog.get_logger()

_DIGEST_BYTES = 32


async def create_key(
    database: Database,
    *,
    name: str,
    scopes: Iterable[str],
    cameras: Sequence[str],
    expires_at: datetime | None = None,
    requests_per_minute: int | None = None,
) -> tuple[ApiKey, str]:
    """Store a new key; returns it, and its text, which nobody can read again.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    secret = new_secret()
    key = ApiKey(
        id=new_key_id(),
        name=name,
        digest=digest_of(secret),
        scopes=known_scopes(scopes),
        cameras=tuple(cameras),
        created_at=_now(),
        expires_at=expires_at,
        requests_per_minute=requests_per_minute,
    )
    with mongo_errors("storing an API key"):
        await database.api_keys.insert_one(_to_document(key))
    return key, key_text(key.id, secret)


async def find_key(database: Database, key_id: str) -> ApiKey | None:
    """The key with this id, also one that is expired or revoked; None if there is none, or it is not one of ours.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    return (await find_keys(database, [key_id])).get(key_id)


async def find_keys(database: Database, key_ids: Sequence[str]) -> dict[str, ApiKey]:
    """The same for several ids."""
    with mongo_errors("reading API keys"):
        documents = await database.api_keys.find({"_id": {"$in": list(key_ids)}}).to_list()
    return {key.id: key for key in _readable(documents)}


async def list_keys(database: Database, *, after: str | None = None, limit: int = 0) -> list[ApiKey]:
    """All keys by id, or at most `limit` after the id `after`."""
    query = {} if after is None else {"_id": {"$gt": after}}
    with mongo_errors("reading API keys"):
        documents = await database.api_keys.find(query).sort("_id", 1).limit(limit).to_list()
    return list(_readable(documents))


async def list_valid_keys(database: Database, limit: int) -> list[ApiKey]:
    """At most `limit` keys that are not revoked."""
    with mongo_errors("reading API keys"):
        documents = await database.api_keys.find({"revoked_at": None}).limit(limit).to_list()
    return list(_readable(documents))


async def revoke_key(database: Database, key_id: str) -> ApiKey | None:
    """Revoke a key, once: a later call keeps the first time. Returns the key; None if there is none."""
    with mongo_errors("revoking an API key"):
        await database.api_keys.update_one({"_id": key_id, "revoked_at": None}, {"$set": {"revoked_at": _now()}})
    return await find_key(database, key_id)


async def rotate_key(database: Database, key: ApiKey, previous_until: datetime) -> tuple[ApiKey, str] | None:
    """Give a key another secret; the one before is valid until `previous_until`.

    Returns None if the key was rotated or revoked in the meantime.
    """
    secret = new_secret()
    rotated = replace(key, digest=digest_of(secret), previous_digest=key.digest, previous_until=previous_until)
    fields = {name: value for name, value in _to_document(rotated).items() if name in _ROTATED}
    with mongo_errors("rotating an API key"):
        updated = await database.api_keys.update_one(
            {"_id": key.id, "digest": Binary(key.digest), "revoked_at": None}, {"$set": fields}
        )
    return (rotated, key_text(key.id, secret)) if updated.matched_count else None


async def write_last_used(database: Database, used: Mapping[str, datetime]) -> None:
    """Write when keys were used last; an earlier time changes nothing."""
    updates = [UpdateOne({"_id": key_id}, {"$max": {"last_used_at": at}}) for key_id, at in used.items()]
    with mongo_errors("writing when API keys were used"):
        await database.api_keys.bulk_write(updates, ordered=False)


_ROTATED = ("digest", "previous_digest", "previous_until")


def _readable(documents: Iterable[Document]) -> Iterable[ApiKey]:
    for document in documents:
        try:
            yield _from_document(document)
        except DocumentError as error:
            log.warning("api_key_unreadable", key_id=shown(document.get("_id")), error=str(error))


def _to_document(key: ApiKey) -> Document:
    return {
        "_id": key.id,
        "name": key.name,
        "digest": Binary(key.digest),
        "scopes": sorted(key.scopes),
        "cameras": list(key.cameras),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
        "requests_per_minute": key.requests_per_minute,
        "previous_digest": None if key.previous_digest is None else Binary(key.previous_digest),
        "previous_until": key.previous_until,
    }


def _from_document(document: Document) -> ApiKey:
    """Read a document strictly: what cannot be read of a key must not make it allow more."""
    key_id = required_text(document, "_id")
    if not is_key_id(key_id):
        raise DocumentError(f"_id is {shown(key_id)}, not the id of a key")
    created_at = _time(document, "created_at")
    if created_at is None:
        raise DocumentError("created_at is missing")
    limit = document.get("requests_per_minute")
    previous = document.get("previous_digest")
    return ApiKey(
        id=key_id,
        name=required_text(document, "name"),
        digest=_digest(document, "digest"),
        scopes=known_scopes(_texts(document, "scopes")),
        cameras=tuple(_texts(document, "cameras")),
        created_at=created_at,
        expires_at=_time(document, "expires_at"),
        last_used_at=_time(document, "last_used_at"),
        revoked_at=_time(document, "revoked_at"),
        requests_per_minute=None if limit is None else whole_number(document, "requests_per_minute"),
        previous_digest=None if previous is None else _digest(document, "previous_digest"),
        previous_until=_time(document, "previous_until"),
    )


def _digest(document: Document, name: str) -> bytes:
    value = document.get(name)
    if not isinstance(value, bytes) or len(value) != _DIGEST_BYTES:
        raise DocumentError(f"{name} is not a SHA-256")  # not shown: it may be a secret that somebody put there
    return bytes(value)


def _time(document: Document, name: str) -> datetime | None:
    value: Any = document.get(name)
    if value is not None and not isinstance(value, datetime):
        raise DocumentError(f"{name} is {shown(value)}, not a date")
    return value


def _texts(document: Document, name: str) -> list[str]:
    value = document.get(name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DocumentError(f"{name} is {shown(value)}, not a list of texts")
    return value


def _now() -> datetime:
    """Now, as MongoDB keeps it: in milliseconds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
