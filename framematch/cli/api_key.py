"""`framematch api-key`: creates, lists and revokes the keys of the REST API, in MongoDB itself."""

import asyncio
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import new_console, print_text
from framematch.cli.database import open_database
from framematch.core.errors import CatalogError, UsageError
from framematch.core.settings import Settings

if TYPE_CHECKING:
    from framematch.api.access.keys import ApiKey

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}
_DURATION = re.compile(r"([1-9][0-9]{0,4})([hd])")
_SCOPES = ("read", "match", "operate", "admin")

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="The keys of the REST API.")


@app.command(epilog="Example: `framematch api-key create 'till app' --scope match --camera 'till-*' --expires 90d`")
def create(
    name: Annotated[str, typer.Argument(help="Who gets it.")],
    *,
    scope: Annotated[list[str], typer.Option(help=f"What it may do: {', '.join(_SCOPES)}; give the option for each.")],
    camera: Annotated[
        list[str] | None, typer.Option(help="A glob of cameras that it sees; give the option for each. [default: none]")
    ] = None,
    expires: Annotated[str, typer.Option(metavar="TIME", help="90d, 12h, or never.", show_default=True)] = "365d",
    requests_per_minute: Annotated[
        int | None, typer.Option(min=0, help="Its own limit; 0: none.", show_default="api.requests_per_minute")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Create a key. It is printed once, to stdout, and cannot be read again; everything else goes to stderr.

    Whoever may write to MongoDB may create keys: so the first key is created like this.
    """
    settings = prepare_command("api-key", config)
    expires_at = _expiry(expires)
    cameras = _checked(name, scope, camera or [])
    key, text = asyncio.run(
        _create(settings, name=name, scopes=scope, cameras=cameras, expires_at=expires_at, limit=requests_per_minute)
    )
    if as_json:
        new_console(soft_wrap=True).out_json(json.dumps({**key_json(key), "key": text}))
        return
    sys.stdout.write(text + "\n")
    until = "for ever" if key.expires_at is None else f"until {key.expires_at:%Y-%m-%d %H:%M} UTC"
    seen = ", ".join(key.cameras) or "no camera (--camera '*': all)"
    new_console(stderr=True, soft_wrap=True).print(
        f"Key {key.id} of {key.name}: may {', '.join(sorted(key.scopes))}, sees {seen}, valid {until}. "
        "Keep it: it is not shown again."
    )


@app.command(name="list", epilog="Example: `framematch api-key list --json | jq -r 'select(.state==\"active\").name'`")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """List all keys: who has them, what they may do, when they were used last. Secrets are not stored."""
    settings = prepare_command("api-key", config)
    keys = asyncio.run(_list(settings))
    console = new_console(soft_wrap=True)
    if as_json:
        for key in keys:
            console.out_json(json.dumps(key_json(key)))
    elif not keys:
        print_text("There is no key. Run 'framematch api-key create NAME --scope read'")
    else:
        from framematch.cli.api_key_table import key_table

        console.print(key_table(keys, datetime.now(UTC)))


@app.command(epilog="Example: `framematch api-key revoke 3f9a1c07b2de`")
def revoke(
    key_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The ids of keys, as `list` shows them.")],
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Revoke keys for ever. Running APIs refuse them within seconds (`api.key_cache_s`)."""
    settings = prepare_command("api-key", config)
    for key_id in key_ids:
        _check_id(key_id)
    asyncio.run(_revoke(settings, key_ids))


def key_json(key: "ApiKey") -> dict[str, object]:
    """A key for `--json`, with the fields of the REST API."""
    from framematch.api.access.keys import key_fields

    fields = key_fields(key, datetime.now(UTC))
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}


def _checked(name: str, scopes: list[str], cameras: list[str]) -> tuple[str, ...]:
    """Check what was given; returns the globs, each once."""
    from framematch.api.access.keys import valid_cameras, valid_name

    for scope in scopes:
        if scope not in _SCOPES:
            raise UsageError(f"there is no scope {scope!r}", hint=f"Use {', '.join(_SCOPES)}")
    try:
        valid_name(name)
        return valid_cameras(cameras)
    except ValueError as error:
        raise UsageError(str(error), hint="See 'framematch api-key create --help'") from None


def _expiry(text: str) -> datetime | None:
    if text == "never":
        return None
    found = _DURATION.fullmatch(text)
    if found is None:
        raise UsageError(f"--expires {text!r} is no time", hint="Write 90d for 90 days, 12h for 12 hours, or never")
    return datetime.now(UTC) + int(found[1]) * _UNITS[found[2]]


def _check_id(key_id: str) -> None:
    from framematch.api.access.keys import is_key_id, parse_key

    if parts := parse_key(key_id):
        raise UsageError("this is a whole key, with its secret", hint=f"Give its id: {parts.id}")
    if not is_key_id(key_id):
        raise UsageError("this is not the id of a key", hint="'framematch api-key list' shows them")


async def _create(
    settings: Settings,
    *,
    name: str,
    scopes: list[str],
    cameras: tuple[str, ...],
    expires_at: datetime | None,
    limit: int | None,
) -> "tuple[ApiKey, str]":
    from framematch.api.access.key_store import create_key

    async with open_database(settings) as database:
        return await create_key(
            database, name=name, scopes=scopes, cameras=cameras, expires_at=expires_at, requests_per_minute=limit
        )


async def _list(settings: Settings) -> "list[ApiKey]":
    from framematch.api.access.key_store import list_keys

    async with open_database(settings) as database:
        return await list_keys(database)


async def _revoke(settings: Settings, key_ids: list[str]) -> None:
    from framematch.api.access.key_store import find_keys, revoke_key

    async with open_database(settings) as database:
        known = await find_keys(database, key_ids)
        for key_id in key_ids:
            if key_id not in known:
                raise CatalogError(f"there is no key {key_id}", hint="'framematch api-key list' shows all")
        for key_id in key_ids:
            await revoke_key(database, key_id)
            print_text(f"Key {key_id} of {known[key_id].name} is revoked")
