"""The doctor's check of the REST API: its packages, its address, and who may use it. A consumer needs none of them."""

import asyncio
import json
from datetime import UTC, datetime
from importlib import import_module
from typing import Final

import aiohttp

from framematch.cli.database import open_database
from framematch.cli.errors import missing_package
from framematch.cli.finding import Finding
from framematch.core.errors import FramematchError
from framematch.core.settings import ApiSettings, Settings
from framematch.core.settings_access import is_loopback

PART: Final = "API"
_PATIENCE_S: Final = 2.0


async def check_api(settings: Settings) -> list[Finding]:
    """What keeps `framematch api` from starting or from answering anybody."""
    try:
        import_module("framematch.api.service")
    except ImportError as error:
        if (missing := missing_package(error, "api")) is None:
            raise
        return [Finding(PART, None, missing.message, missing.hint)]
    return [await _address(settings.api), await _access(settings)]


async def _address(api: ApiSettings) -> Finding:
    """Whether the API runs at its address, or could."""
    place = f"{api.host}:{api.port}"
    try:
        async with await asyncio.start_server(lambda _reader, writer: writer.close(), api.host, api.port):
            return Finding(PART, True, f"can listen on {place}")
    except OSError as error:
        if await _is_ours(place):
            return Finding(PART, True, f"runs at http://{place}")
        hint = "Set FRAMEMATCH_API__PORT to a free port, and FRAMEMATCH_API__HOST to an address of this machine"
        return Finding(PART, None, f"cannot listen on {place}: {error.strerror or error}", hint)


async def _is_ours(place: str) -> bool:
    timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            client.get(f"http://{place}/openapi.json") as answer,
        ):
            return bool(json.loads(await answer.text())["info"]["title"] == "framematch")
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError):
        return False


async def _access(settings: Settings) -> Finding:
    """Whether there is anybody whom the API would let in."""
    from framematch.api.access.key_store import list_keys

    part, api = "API access", settings.api
    if api.auth == "none":
        if is_loopback(api.host):
            return Finding(part, None, "whoever reaches it may do everything", "Set FRAMEMATCH_API__AUTH=keys")
        return Finding(
            part, None, f"api.auth is none, and {api.host} is no loopback address", "Set FRAMEMATCH_API__AUTH=keys"
        )
    try:
        async with open_database(settings) as database:
            keys = await list_keys(database)
    except FramematchError as error:
        return Finding(part, None, error.message, error.hint)
    now = datetime.now(UTC)
    valid = [key for key in keys if key.revoked_at is None and not key.is_expired(now)]
    if valid or api.oidc.issuer:
        issuer = f", tokens of {api.oidc.issuer}" if api.oidc.issuer else ""
        return Finding(part, True, f"{len(valid)} valid keys{issuer}")
    return Finding(part, None, "there is no valid key", "Run framematch api-key create NAME --scope match")
