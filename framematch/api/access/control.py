"""Everything about access that runs beside the requests: made at the start, by the settings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import structlog

from framematch.api.access.anonymous import AnonymousAuthenticator
from framematch.api.access.audit import AuditLog, ensure_audit
from framematch.api.access.authenticator import KeyAuthenticator
from framematch.api.access.failures import FailureLimit
from framematch.api.access.issuer_keys import IssuerKeys
from framematch.api.access.key_cache import KeyCache
from framematch.api.access.rate_limit import RateLimit
from framematch.api.access.tokens import TokenVerifier
from framematch.catalog.mongo import Database
from framematch.core.errors import SettingsError
from framematch.core.settings import ApiSettings
from framematch.core.settings_access import is_loopback

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class AccessControl:
    """Who sends a request, how much he may send, and what is written about it."""

    authenticator: KeyAuthenticator | AnonymousAuthenticator
    keys: KeyCache
    rate_limit: RateLimit
    audit: AuditLog


@asynccontextmanager
async def running_access(settings: ApiSettings, database: Database) -> AsyncIterator[AccessControl]:
    """Access control, whose caches are kept fresh and whose entries are written inside the context.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    await ensure_audit(database, settings.audit_days)
    keys = KeyCache(database, refresh_s=settings.key_cache_s, grace_s=settings.key_grace_s)
    audit = AuditLog(database)
    stop = asyncio.Event()
    async with AsyncExitStack() as resources:
        issuer_keys = None
        if settings.auth == "keys" and settings.oidc.issuer:
            session = await resources.enter_async_context(aiohttp.ClientSession())
            issuer_keys = IssuerKeys(settings.oidc.issuer, session)
        tokens = TokenVerifier(settings.oidc, issuer_keys) if issuer_keys else None
        failures = FailureLimit(settings.failures_per_minute)
        async with asyncio.TaskGroup() as group:
            for part in (keys, audit, issuer_keys):
                if part is not None:
                    group.create_task(part.run(stop))
            try:
                yield AccessControl(
                    authenticator=(
                        KeyAuthenticator(keys, tokens, failures) if settings.auth == "keys" else _anonymous()
                    ),
                    keys=keys,
                    rate_limit=RateLimit(settings.requests_per_minute),
                    audit=audit,
                )
            finally:
                stop.set()


def check_anonymous(settings: ApiSettings) -> None:
    """Check that an API without keys is for this machine alone.

    Raises:
        SettingsError: it is not.
    """
    if settings.auth == "none" and not is_loopback(settings.host):
        raise SettingsError(
            f"api.auth is none, but api.host is {settings.host}: everybody who reaches it could do everything",
            hint="Set api.auth to keys and create one with 'framematch api-key create', or api.host to 127.0.0.1",
        )


def _anonymous() -> AnonymousAuthenticator:
    log.warning("api_without_keys")
    return AnonymousAuthenticator()
