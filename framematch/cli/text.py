"""Formats numbers, times and foreign text for a terminal."""

from rich.text import Text


def duration(seconds: float) -> str:
    """A duration for people: `0.2 s`, `45 s`, `12 min`, `4 h`, `4 d`."""
    if seconds < 10:  # noqa: PLR2004  # tenths matter below
        return f"{seconds:.1f} s"
    for unit, size_s, limit in (("s", 1, 120), ("min", 60, 120), ("h", 3_600, 48)):
        if seconds < limit * size_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def counted(number: int, thing: str) -> str:
    """`1 camera`, `12 cameras`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def one_line(text: Text) -> Text:
    """`text`, truncated at the end of its line."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
