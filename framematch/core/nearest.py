"""Suggests the known name that is nearest to a wrong one."""

import difflib
from collections.abc import Iterable

_LONGEST = 200  # characters; the search takes longer with the square of the length


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the nearest known setting, or where all of them are listed."""
    near = difflib.get_close_matches(name[:_LONGEST], known, n=1, cutoff=0.4)
    return f"Did you mean {near[0]}?" if near else "See docs/settings.md for the known ones"
