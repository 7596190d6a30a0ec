"""The public keys of an OIDC issuer: found by discovery, kept while it is away, read again when it rotates them.

A token with an unknown key makes us ask the issuer at most once a minute, whoever sends how many of them.
"""

import asyncio
import json
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import structlog
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from framematch.core.errors import UnavailableError
from framematch.core.redact import redact_url
from framematch.core.settings_access import is_loopback

log = structlog.get_logger()

PublicKey = RSAKey | ECKey | OKPKey

REFRESH_S: Final = 900.0
REFETCH_S: Final = 60.0
MAX_AGE_S: Final = 86_400.0
"""Older keys are not used: the issuer may have withdrawn them."""
_TIMEOUT = aiohttp.ClientTimeout(total=5)
_DOCUMENT_BYTES_MAX = 1_000_000
_CHUNK_BYTES = 65_536
_KEYS_MAX = 100
_RETRY_S = 5.0  # without any key
_KEY_TYPES = ("RSA", "EC", "OKP")


class IssuerUnavailableError(UnavailableError):
    """The issuer does not answer, or with something else than its keys."""


class IssuerKeys:
    """The keys of one issuer. `run` keeps them fresh; `find` asks for new ones if a token needs them."""

    def __init__(
        self, issuer: str, session: aiohttp.ClientSession, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer = issuer
        self._session = session
        self._monotonic_s = monotonic_s
        self._keys: Sequence[PublicKey] = ()
        self._fetched_at_s: float | None = None
        self._tried_at_s: float | None = None
        self._fetching = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Read the keys now and every 15 minutes, until `stop`."""
        while not stop.is_set():
            await self._fetch(at_least_s=0 if self._keys else _RETRY_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), REFRESH_S if self._keys else _RETRY_S)

    async def find(self, kid: str | None, key_type: str) -> list[PublicKey]:
        """The keys with this id and type; without an id, all of the type. May ask the issuer.

        Raises:
            IssuerUnavailableError: there is no key at all, as the issuer does not answer.
        """
        if not (found := self._held(kid, key_type)):
            found = await self.find_rotated(kid, key_type)
        if not self._are_fresh:
            raise IssuerUnavailableError("the issuer of tokens does not answer", hint="Check api.oidc.issuer")
        return found

    async def find_rotated(self, kid: str | None, key_type: str) -> list[PublicKey]:
        """The same after asking the issuer, unless it was asked within the last minute."""
        await self._fetch(at_least_s=REFETCH_S if self._are_fresh else _RETRY_S)
        return self._held(kid, key_type)

    @property
    def _are_fresh(self) -> bool:
        return self._fetched_at_s is not None and self._monotonic_s() - self._fetched_at_s < MAX_AGE_S

    def _held(self, kid: str | None, key_type: str) -> list[PublicKey]:
        return [key for key in self._keys if key.key_type == key_type and kid in (None, key.kid)]

    async def _fetch(self, *, at_least_s: float) -> None:
        """Ask the issuer, unless that was done less than `at_least_s` ago; keep the keys if it does not answer."""
        async with self._fetching:
            now_s = self._monotonic_s()
            if self._tried_at_s is not None and now_s - self._tried_at_s < at_least_s:
                return
            self._tried_at_s = now_s
            try:
                keys = await self._read()
            except IssuerUnavailableError as error:
                log.warning("issuer_unavailable", issuer=self._issuer, keys=len(self._keys), error=str(error))
                return
            self._keys, self._fetched_at_s = keys, self._monotonic_s()
            log.info("issuer_keys_read", issuer=self._issuer, keys=len(keys))

    async def _read(self) -> list[PublicKey]:
        document = await self._get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if document.get("issuer") != self._issuer:
            raise IssuerUnavailableError("the discovery document is of another issuer")
        jwks_uri = document.get("jwks_uri")
        if not isinstance(jwks_uri, str) or not _is_safe(jwks_uri):
            raise IssuerUnavailableError("the discovery document has no https:// address of keys")
        key_set = (await self._get(jwks_uri)).get("keys")
        keys = usable_keys(key_set if isinstance(key_set, list) else [])
        if not keys:
            raise IssuerUnavailableError("the issuer publishes no key that can be used")
        return keys

    async def _get(self, url: str) -> dict[str, Any]:
        body = bytearray()
        try:
            # A redirect could lead anywhere.
            async with self._session.get(url, timeout=_TIMEOUT, allow_redirects=False) as response:
                async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                    body += chunk
                    if len(body) > _DOCUMENT_BYTES_MAX:
                        raise IssuerUnavailableError(f"{redact_url(url)} answers with more than 1 MB")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise IssuerUnavailableError(f"{redact_url(url)} does not answer: {type(error).__name__}") from None
        try:
            document = json.loads(body) if response.ok else None
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise IssuerUnavailableError(f"{redact_url(url)} answers with status {response.status}, and no JSON object")
        return document


def usable_keys(key_set: Sequence[object]) -> list[PublicKey]:
    """The public keys for signatures; others are left out, as are damaged ones, so that one does not spoil all."""
    found: list[PublicKey] = []
    for data in key_set[:_KEYS_MAX]:
        if not isinstance(data, dict) or data.get("use", "sig") != "sig" or data.get("kty") not in _KEY_TYPES:
            continue
        with suppress(JoseError, ValueError, TypeError, KeyError, SecurityWarning), warnings.catch_warnings():
            warnings.simplefilter("error", SecurityWarning)  # RSA with less than 2048 bits
            key = JWKRegistry.import_key(data)
            if isinstance(key, PublicKey):
                found.append(key)
    return found


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
