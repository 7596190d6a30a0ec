"""Amounts of money in the spellings of shops and spreadsheets."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from framematch.catalog.importing.values.currencies import currencies_of
from framematch.catalog.importing.values.errors import ValueRefused, quoted
from framematch.catalog.importing.values.guards import unguarded

DecimalSign = Literal[".", ","]

MAX_DIGITS = 18
"""Of an amount, so that sums fit into Decimal128 and 64-bit integers of the smallest units."""

_SPELLINGS = str.maketrans(
    {"’": "'", "‘": "'", "´": "'", "`": "'", "−": "-", "–": "-", "—": "-", "٫": ".", "٬": "'"}  # noqa: RUF001  # shops write these
)  # fmt: skip
# Kr. 100 and Rs.500 are abbreviations; in EUR.50 the dot separates decimals. 12.- and 12,-- have no decimals.
_AMOUNT = re.compile(
    r"(?P<before>(?:kr|rs|s?fr|rp|ft|kč|лв)\.\s*|[^\d.,'\-()]*)"
    r"(?P<number>[.,]?\d(?:[\d.,' ]*\d)?)(?:[.,]-{1,2})?"
    r"(?P<after>[^\d.,'\-()]*[^\W\d_]\.|[^\d.,'\-()]*)",
    re.IGNORECASE,
)
_EXPONENT = re.compile(r"[\d.,]+e[+-]?\d+", re.IGNORECASE)
_NEGATIVE = re.compile(r"[^\d(]*-.*\d.*|\D*\(.*\d.*\)\D*|.*\d\s*-\D*")
_GROUPS = re.compile(r"\d{1,3}(?:(?P<sign>[ '.,])\d{3})(?:(?P=sign)\d{3})*|\d{1,2}(?:,\d{2})+,\d{3}")
_GROUP_DIGITS = 3
_CENTS = 2  # digits that are kept also when they are zeros


@dataclass(frozen=True)
class Money:
    """An exact amount, and its currency as ISO 4217 has it (`EUR`) if it is known."""

    amount: Decimal
    currency: str | None = None


@dataclass(frozen=True)
class _Number:
    """The digits before and behind the decimal sign, and which sign that is, if the number says it.

    `open` is a sign that separates either groups or decimals.
    """

    whole: str
    decimals: str = ""
    sign: DecimalSign | None = None
    open: DecimalSign | None = None


def parse_money(text: str, decimal: DecimalSign | None) -> Money:
    """The amount in a cell that is not blank, with the currency that stands before or behind it.

    Spaces and apostrophes separate groups of digits. Of two different signs the last one separates decimals; a sign
    that stands several times separates groups. One sign with three digits behind it (`1.234`) may be either:
    `decimal` decides.

    Raises:
        ValueRefused: it is no amount of at most `MAX_DIGITS` digits, is negative, or may be read in two ways.
    """
    before, digits, after = _parts(text)
    number = _number(text, digits)
    if number.open is not None:
        if decimal is None:
            one, other = number.whole + number.decimals, f"{number.whole}.{number.decimals}"
            raise ValueRefused(f"{quoted(text)} is {one} or {other}; name the decimal sign with --decimal . or ,")
        if decimal != number.open:
            number = _Number(number.whole + number.decimals)
    return Money(_amount(text, number), _currency(text, before, after))


def money_of_number(value: float | Decimal) -> Money:
    """The amount that a JSON or Parquet file has as a number; a float is its shortest decimal.

    Raises:
        ValueRefused: it is negative, not finite, no number, or has more than `MAX_DIGITS` digits.
    """
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    shown = quoted(str(exact))
    if isinstance(value, bool) or not exact.is_finite():
        raise ValueRefused(f"{shown} is not an amount such as 12.90")
    if exact < 0:
        raise ValueRefused(f"{shown} is negative")
    if abs(exact.adjusted()) >= MAX_DIGITS:
        raise ValueRefused(f"{shown} has more than {MAX_DIGITS} digits")
    whole, _, decimals = f"{abs(exact):f}".partition(".")  # not -0
    if isinstance(value, float):
        decimals = decimals.rstrip("0")  # 4.0 is how a float writes 4
    return Money(_amount(str(exact), _Number(whole, decimals)))


def decimal_sign(texts: Iterable[str]) -> DecimalSign | None:
    """Which sign separates decimals in a column, as those of its cells say that can be read in one way only.

    None if no cell says it, or some contradict others. Cells that are no amounts say nothing.
    """
    signs = set()
    for text in texts:
        try:
            signs.add(_number(text, _parts(text)[1]).sign)
        except ValueRefused:
            continue
    signs.discard(None)
    return signs.pop() if len(signs) == 1 else None


def _parts(text: str) -> tuple[str, str, str]:
    """What stands before the number, the number in ASCII, and what stands behind it."""
    plain = _plain(unguarded(text))
    if not plain:
        raise ValueRefused("is empty")
    if _EXPONENT.search(plain):
        raise ValueRefused(f"{quoted(text)} is in scientific notation; export it again as a plain number")
    amount = _AMOUNT.fullmatch(plain)
    if amount is None:
        negative = _NEGATIVE.fullmatch(plain)
        raise ValueRefused(f"{quoted(text)} is {'negative' if negative else 'not an amount such as 12.90'}")
    return amount["before"].strip(), amount["number"], amount["after"].strip()


def _plain(text: str) -> str:
    """The text with ASCII digits, plain spaces, and one spelling of each sign."""
    if any(unicodedata.category(character) in {"No", "Nl"} for character in text):
        return "?"  # ² and ½ would become digits
    digits = (str(unicodedata.decimal(one)) if one.isdecimal() else one for one in text.translate(_SPELLINGS))
    return " ".join(unicodedata.normalize("NFKC", "".join(digits)).translate(_SPELLINGS).split())


def _number(text: str, digits: str) -> _Number:
    signs = re.sub(r"\d", "", digits)
    last = signs[-1:]
    whole, _, decimals = digits.rpartition(last) if last else (digits, "", "")
    if last not in {".", ","}:
        return _Number(_ungrouped(text, digits))
    sign: DecimalSign = "." if last == "." else ","
    other: DecimalSign = "," if last == "." else "."
    if signs.count(last) > 1:
        return _Number(_ungrouped(text, digits), sign=other)
    is_group = len(decimals) == _GROUP_DIGITS and 0 < len(whole) <= _GROUP_DIGITS and not whole.startswith("0")
    if len(signs) == 1 and is_group:
        return _Number(whole, decimals, open=sign)
    return _Number(_ungrouped(text, whole) if whole else "0", decimals, sign=sign)


def _ungrouped(text: str, digits: str) -> str:
    if not digits.isdecimal() and not _GROUPS.fullmatch(digits):
        raise ValueRefused(f"{quoted(text)} does not separate groups of three digits")
    return re.sub(r"\D", "", digits)


def _amount(text: str, number: _Number) -> Decimal:
    # Some shops write all prices with four or six decimals.
    decimals = number.decimals[:_CENTS] + number.decimals[_CENTS:].rstrip("0")
    if len(number.whole.lstrip("0") + decimals) > MAX_DIGITS:
        raise ValueRefused(f"{quoted(text)} has more than {MAX_DIGITS} digits")
    return Decimal(f"{number.whole}.{decimals}" if decimals else number.whole)


def _currency(text: str, before: str, after: str) -> str | None:
    signs = [sign for part in (before, after) for sign in _signs(part)]
    if not signs:
        return None
    possible = [currencies_of(sign) for sign in signs]
    if not all(possible):
        unknown = next(sign for sign, codes in zip(signs, possible, strict=True) if not codes)
        raise ValueRefused(f"{quoted(text)} has {quoted(unknown)}, which is no currency")
    common = frozenset.intersection(*possible)
    if not common:
        raise ValueRefused(f"{quoted(text)} has two currencies")
    return next(iter(common)) if len(common) == 1 else None


def _signs(part: str) -> list[str]:
    """The signs of currencies on one side of the number; `USD $` are two."""
    return [part] if currencies_of(part) else part.split()
