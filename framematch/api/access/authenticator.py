"""From the headers of a request to whoever sent it, or to a refusal that says why."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from starlette.datastructures import Headers

from framematch.api.access.credentials import credential_of
from framematch.api.access.failures import FailureLimit
from framematch.api.access.key_cache import KeyCache
from framematch.api.access.keys import SecretParts, parse_key
from framematch.api.access.principal import Principal
from framematch.api.access.refusals import (
    cannot_check,
    key_ended,
    key_malformed,
    key_missing,
    key_unknown,
)
from framematch.core.errors import CatalogError, MongoUnavailableError

_POINTS_IN_TOKEN = 2


class Tokens(Protocol):
    """Verifies bearer tokens."""

    async def verify(self, token: str) -> Principal:
        """Whoever the issuer gave this token to; raises Problem (401, or 503 if it cannot be checked at present)."""


def _now() -> datetime:
    return datetime.now(UTC)


class KeyAuthenticator:
    """Takes requests with an API key, or with a token if `tokens` verifies them."""

    def __init__(
        self, keys: KeyCache, tokens: Tokens | None, failures: FailureLimit, now: Callable[[], datetime] = _now
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self._failures = failures
        self._now = now

    async def authenticate(self, headers: Headers, client: str) -> Principal:
        """Whose request this is, by its headers and the client's address.

        Raises:
            Problem: 400, 401, 429 after too many unknown keys, or 503.
        """
        credential = credential_of(headers.raw)
        if credential is None:
            raise key_missing()
        if parts := parse_key(credential):
            return await self._by_key(parts, client)
        if credential.startswith("fm_") or self._tokens is None or credential.count(".") != _POINTS_IN_TOKEN:
            raise key_malformed("this is no API key, and no token that is accepted here")
        return await self._tokens.verify(credential)

    async def _by_key(self, parts: SecretParts, client: str) -> Principal:
        # Only a look into MongoDB is limited: so nobody shuts out keys that are known from the same address.
        if is_new := not self._keys.has(parts.id):
            self._failures.check(client)
        try:
            key = await self._keys.find(parts.id)
        except MongoUnavailableError:
            raise cannot_check("MongoDB does not answer, and this key is not known yet") from None
        except CatalogError:
            raise cannot_check("MongoDB refused to look for the key") from None
        now = self._now()
        if key is None or not key.proves(parts.secret, now):
            if is_new:
                self._failures.add(client)
            raise key_unknown()
        if key.revoked_at is not None:
            raise key_ended("key_revoked", "this API key was revoked")
        if key.is_expired(now):
            raise key_ended("key_expired", f"this API key has expired at {key.expires_at:%Y-%m-%dT%H:%M:%SZ}")
        self._keys.mark_used(key.id)
        return key.principal()
