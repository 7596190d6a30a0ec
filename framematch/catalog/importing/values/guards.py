"""Guards that keep a spreadsheet from computing with a cell: removes those of others, and sets and removes our own."""

import re

# A cell that begins so is a formula to some spreadsheet (OWASP, "CSV injection"), also in full width.
_COMPUTED = "[=+\\-@\t\r\n＝＋－＠]"  # noqa: RUF001  # these are the characters in full width
_GUARDED_TEXT = re.compile(f"'+{_COMPUTED}")
_TEXT_TO_GUARD = re.compile(f"'*{_COMPUTED}")
_QUOTED_FORMULA = re.compile(r'="((?:[^"]|"")*)"')
_APOSTROPHE = re.compile(rf"'(?={_COMPUTED}|\d[\d .,-]*$)")


def unguarded(text: str) -> str:
    """The cell's text without a guard that shops and spreadsheets set: `'123` and `="123"` are `123`.

    An apostrophe is a guard only before a number, or before what a spreadsheet would compute: `'t Hart` keeps it.
    """
    if formula := _QUOTED_FORMULA.fullmatch(text.strip()):
        return formula[1].replace('""', '"')
    stripped = text.lstrip()
    return stripped[1:] if _APOSTROPHE.match(stripped) else text


def guarded(text: str) -> str:
    """The text for a cell of our exports: with an apostrophe before what a spreadsheet would compute."""
    return f"'{text}" if _TEXT_TO_GUARD.match(text) else text


def without_export_guard(text: str) -> str:
    """The inverse of `guarded`, for every text."""
    return text[1:] if _GUARDED_TEXT.match(text) else text
