"""Page tokens: where the next page of a list starts, signed, so that a client can neither read into it nor forge it."""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pymongo.errors import DuplicateKeyError

from framematch.api.problems import Problem
from framematch.catalog.mongo import Database, mongo_errors

PAGE_SIZE: Final = 50
PAGE_SIZE_MAX: Final = 500
_DOCUMENT: Final = "page_token_key"
_KEY_BYTES = 32
_SIGNATURE_BYTES = 16


@dataclass(frozen=True)
class PageTokens:
    """Signs and opens page tokens with a key that all processes of the API share."""

    key: bytes

    def sign(self, position: list[Any], query: Mapping[str, Any]) -> str:
        """A token for the page after `position`, JSON values such as a sort key and an id, of the list for `query`."""
        payload = json.dumps(position, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._signature(payload, query) + payload).decode().rstrip("=")

    def open(self, token: str, query: Mapping[str, Any]) -> list[Any]:
        """The position in a token.

        Raises:
            Problem: it is none of ours, or of a list with another filter.
        """
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            data = b""
        signature, payload = data[:_SIGNATURE_BYTES], data[_SIGNATURE_BYTES:]
        if not payload or not hmac.compare_digest(signature, self._signature(payload, query)):
            raise Problem(
                400, "invalid_page_token", "the page token is not one of this list",
                hint="Repeat the request with the filters of the first page, or without page_token",
            )  # fmt: skip
        position: list[Any] = json.loads(payload)
        return position

    def _signature(self, payload: bytes, query: Mapping[str, Any]) -> bytes:
        text = json.dumps(query, sort_keys=True, default=str).encode()
        return hmac.digest(self.key, hashlib.sha256(text).digest() + payload, "sha256")[:_SIGNATURE_BYTES]


async def open_page_tokens(database: Database) -> PageTokens:
    """The tokens with the key in MongoDB, which the first process makes.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
        CatalogError: MongoDB refuses.
    """
    with mongo_errors("reading the key of page tokens"):
        with suppress(DuplicateKeyError):  # another process was faster
            await database.meta.update_one(
                {"_id": _DOCUMENT}, {"$setOnInsert": {"key": secrets.token_bytes(_KEY_BYTES)}}, upsert=True
            )
        document = await database.meta.find_one({"_id": _DOCUMENT})
    key = (document or {}).get("key")
    if not isinstance(key, bytes) or len(key) < _KEY_BYTES:  # tokens of a process live as long as it does
        key = secrets.token_bytes(_KEY_BYTES)
    return PageTokens(bytes(key))
