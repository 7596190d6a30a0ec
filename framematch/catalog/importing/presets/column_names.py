"""Compares the names of columns, however a shop, a spreadsheet or a version of the shop spells them."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache

# Feeds in XML have the names of Google's namespace.
_NAMESPACE = "g:"
_SHOWN_COLUMNS = 20
_SHOWN_CHARACTERS = 40


@lru_cache(maxsize=10_000)
def folded_name(name: str) -> str:
    """The name in one spelling: in lower case and NFKC, `_` as a space, without BOM, `*` and Google's namespace."""
    plain = unicodedata.normalize("NFKC", name).replace("\ufeff", "").replace("_", " ")
    return " ".join(plain.casefold().strip("* \t\r\n").removeprefix(_NAMESPACE).split())


def is_namespaced(name: str) -> bool:
    """Whether the name is one of Google's namespace."""
    return name.casefold().startswith(_NAMESPACE)


def shown_columns(columns: Iterable[str]) -> str:
    """The first names, shortened, for a message."""
    named = [column for column in columns if column]
    shown = [repr(name[:_SHOWN_CHARACTERS]) for name in named[:_SHOWN_COLUMNS]]
    more = [f"and {len(named) - _SHOWN_COLUMNS} more"] if len(named) > _SHOWN_COLUMNS else []
    return ", ".join([*shown, *more]) or "none"


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The one of the known names that may be meant."""
    by_folded = {folded_name(one): one for one in known}
    nearest = get_close_matches(folded_name(name), by_folded, n=1)
    return by_folded[nearest[0]] if nearest else None
