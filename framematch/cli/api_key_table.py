"""The table of API keys."""

from collections.abc import Iterable
from datetime import datetime

from rich.table import Table
from rich.text import Text

from framematch.api.access.keys import ApiKey, key_fields
from framematch.core.printable import printable

_NOTHING = "-"
_STYLES = {"active": "green", "expired": "yellow", "revoked": "bold red"}


def key_table(keys: Iterable[ApiKey], now: datetime) -> Table:
    """A table with a row per key, by name."""
    shown = Table(box=None, pad_edge=False)
    for name in ("Id", "Name", "State", "Scopes", "Cameras", "Created (UTC)", "Expires (UTC)", "Last used (UTC)"):
        shown.add_column(name, no_wrap=name != "Cameras")
    for key in sorted(keys, key=lambda key: (key.name, key.id)):
        state = str(key_fields(key, now)["state"])
        shown.add_row(
            Text(key.id),
            Text(printable(key.name)),
            Text(state, style=_STYLES[state]),
            Text(", ".join(sorted(key.scopes)) or _NOTHING),
            Text(printable(", ".join(key.cameras)) or _NOTHING),
            *(Text(_minute(at)) for at in (key.created_at, key.expires_at, key.last_used_at)),
        )
    return shown


def _minute(at: datetime | None) -> str:
    return _NOTHING if at is None else f"{at:%Y-%m-%d %H:%M}"
