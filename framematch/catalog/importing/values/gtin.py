"""Global Trade Item Numbers (EAN, UPC, ISBN-13), as they are printed on articles."""

import re
import unicodedata

from framematch.catalog.importing.values.errors import ValueRefused, quoted
from framematch.catalog.importing.values.guards import unguarded

GTIN_DIGITS = 14
# 7 and 11 have lost the zero with which they began in a spreadsheet.
_LENGTHS = {7, 8, 11, 12, 13, 14}
_SCIENTIFIC = re.compile(r"\d([.,]\d+)?e\+?\d+", re.IGNORECASE)
_ISBN_10 = re.compile(r"\d{9}[\dX]", re.IGNORECASE)


def parse_gtin(text: str) -> str:
    """The number in a cell that is not blank, with 14 digits; spaces and hyphens between digits do not count.

    The check digit is the same with and without zeros in front, so it also proves a number that has lost one.

    Raises:
        ValueRefused: it is no GTIN, or its check digit is wrong.
    """
    plain = unicodedata.normalize("NFKC", unguarded(text)).strip()
    if _SCIENTIFIC.fullmatch(plain):
        raise ValueRefused(f"{quoted(text)} has lost digits in a spreadsheet; export it again as text")
    digits = re.sub(r"[\s\-]", "", re.sub(r"\.0+$", "", plain))  # 4006381333931.0 comes from a column of floats
    if not re.fullmatch(r"\d+", digits, re.ASCII) or len(digits) not in _LENGTHS:
        if _ISBN_10.fullmatch(digits):
            raise ValueRefused(f"{quoted(text)} may be an ISBN-10, which is no GTIN; write the ISBN with 13 digits")
        raise ValueRefused(f"{quoted(text)} is no GTIN: it does not have 8, 12, 13 or 14 digits")
    padded = digits.zfill(GTIN_DIGITS)
    if not padded.strip("0"):
        raise ValueRefused(f"{quoted(text)} is no GTIN: it has only zeros")
    expected = check_digit(padded[:-1])
    if padded[-1] != expected:
        raise ValueRefused(f"{quoted(text)} is no GTIN: its check digit would be {expected}")
    return padded


def check_digit(digits: str) -> str:
    """The digit that follows `digits` in a GTIN (GS1 General Specifications, 7.9)."""
    weighted = sum(int(digit) * (1 if index % 2 else 3) for index, digit in enumerate(reversed(digits)))
    return str(-weighted % 10)
