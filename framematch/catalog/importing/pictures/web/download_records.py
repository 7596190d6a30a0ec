"""What was downloaded before, in MongoDB: a picture that has not changed is not sent again."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pymongo import ReplaceOne

from framematch.catalog.expiry import set_expiry
from framematch.catalog.importing.pictures.web.requests import Validators
from framematch.catalog.mongo import Database, Document, mongo_errors

_COLLECTION: Final = "picture_downloads"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# Of addresses that no catalogue file has named for so long.
_KEPT_S: Final = 400 * 24 * 3_600


@dataclass(frozen=True)
class DownloadRecord:
    """The picture that an address had at `checked_at`: the digest of its bytes, and what its server said of it.

    `key` is the SHA-256 of the address in hexadecimal. The address itself is not kept: it may contain a secret.
    """

    key: str
    digest: str
    validators: Validators
    checked_at: datetime


def address_key(address: str) -> str:
    """The key of a web address."""
    return hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()


class DownloadRecords:
    """The collection `picture_downloads`."""

    def __init__(self, database: Database) -> None:
        self._records = database[_COLLECTION]
        self._database = database

    async def ensure_indexes(self) -> None:
        """Let MongoDB delete records that are very old."""
        with mongo_errors("creating indexes"):
            await set_expiry(self._database, _COLLECTION, "checked_at", _KEPT_S)

    async def find(self, keys: Iterable[str]) -> dict[str, DownloadRecord]:
        """The records with these keys; unreadable ones are left out."""
        with mongo_errors("looking for downloaded pictures"):
            documents = await self._records.find({"_id": {"$in": list(keys)}}).to_list()
        return {record.key: record for document in documents if (record := _record(document)) is not None}

    async def put(self, records: Sequence[DownloadRecord]) -> None:
        """Write records. Call it when their pictures are stored."""
        if not records:
            return
        writes = [ReplaceOne({"_id": record.key}, _document(record), upsert=True) for record in records]
        with mongo_errors("writing what was downloaded"):
            await self._records.bulk_write(writes, ordered=False)


def _document(record: DownloadRecord) -> Document:
    return {
        "digest": record.digest,
        "etag": record.validators.etag,
        "last_modified": record.validators.last_modified,
        "checked_at": record.checked_at,
    }


def _record(document: Document) -> DownloadRecord | None:
    digest, checked_at = document.get("digest"), document.get("checked_at")
    texts = [document.get(name) for name in ("etag", "last_modified")]
    etag, last_modified = (text if isinstance(text, str) and text.isprintable() else None for text in texts)
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest) or not isinstance(checked_at, datetime):
        return None
    return DownloadRecord(document["_id"], digest, Validators(etag, last_modified), checked_at.astimezone(UTC))
