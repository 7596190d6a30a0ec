"""Reads single values of a row: texts, ids, article numbers, amounts and currencies, of CSV cells or JSON."""

import json
import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from framematch.catalog.importing.values.currencies import currency_code
from framematch.catalog.importing.values.errors import ValueRefused, quoted
from framematch.catalog.importing.values.gtin import parse_gtin
from framematch.catalog.importing.values.guards import unguarded
from framematch.catalog.importing.values.money import DecimalSign, Money, money_of_number, parse_money

# A spreadsheet writes the exponent with its sign; 4E2 alone may be an id.
_SCIENTIFIC_ID = re.compile(r"\d+(?:[.,]\d+)?E\+\d+", re.IGNORECASE)
_SCIENTIFIC_GTIN = re.compile(r"\d+(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)
_PAIR = re.compile(r",(?=\s*\"?[\w .:-]+=)")


class RowRefused(Exception):  # noqa: N818  # it says what became of the row; the mapping turns it into its problem
    """A row cannot be taken; `reason` is a sentence without a full stop."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def normal_id(text: str) -> str:
    """A product's id as it is stored: ids that look the same are the same."""
    return unicodedata.normalize("NFC", text.strip())


def text_value(column: str, value: Any) -> str | None:
    """The text without white space around it, or a whole number as text; None if it is empty.

    Raises:
        RowRefused: it is something else, or has a NUL character.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not isinstance(value, str):
        raise RowRefused(f"{column} is not text")
    if value and "\0" in value:
        raise RowRefused(f"{column} contains a NUL character")
    return (value or "").strip() or None


def id_value(column: str, value: Any, *, is_cell: bool) -> str | None:
    """An id or article number as it is stored; `is_cell`: a spreadsheet may have put a guard around it.

    Raises:
        RowRefused: it is no text, or a spreadsheet has cut its digits.
    """
    text = text_value(column, value)
    if text is None:
        return None
    plain = normal_id(unguarded(text) if is_cell else text)
    if _SCIENTIFIC_ID.fullmatch(plain):
        raise RowRefused(f"{column} {quoted(text)} has lost digits in a spreadsheet; export it again as text")
    return plain or None


def gtin_value(column: str, value: Any) -> str | None:
    """The number with 14 digits; None if it is none, such as a number of the shop's own.

    Raises:
        RowRefused: it is no text, or a spreadsheet has cut its digits.
    """
    text = text_value(column, value)
    if text is None:
        return None
    if _SCIENTIFIC_GTIN.fullmatch(unguarded(text).strip()):
        raise RowRefused(f"{column} {quoted(text)} has lost digits in a spreadsheet; export it again as text")
    try:
        return parse_gtin(text)
    except ValueRefused:
        return None


def money_value(column: str, value: Any, decimal: DecimalSign | None) -> Money:
    """The amount in a value that is not empty.

    Raises:
        RowRefused: it is no amount.
    """
    try:
        if isinstance(value, str):
            return parse_money(value, decimal)
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return money_of_number(value)
    except ValueRefused as error:
        raise RowRefused(f"{column} {error.reason}") from None
    raise RowRefused(f"{column} {quoted(str(value))} is not an amount such as 12.90")


def with_currency(money: Money, column: str, value: Any) -> Money:
    """The amount in the currency that a column of its own has.

    Raises:
        RowRefused: it is no currency, or the amount has another one.
    """
    text = text_value(column, value)
    if text is None:
        return money
    code = currency_code(text)
    if code is None:
        raise RowRefused(f"{column} {quoted(text)} is no currency such as EUR")
    if money.currency not in (None, code):
        raise RowRefused(f"the price is in {money.currency}, {column} says {code}")
    return Money(money.amount, code)


def json_of_cell(value: Any, parse_float: Callable[[str], Any] = float) -> Any:
    """The list or object that a cell has as JSON; any other value as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            return json.loads(value, parse_float=parse_float)
        except (ValueError, RecursionError):
            return value
    return value


def key_values(text: str) -> dict[str, str]:
    """What `k=v,k2=v2` says; commas within a value stay, and quotes around a pair are removed."""
    pairs = (part.strip().strip('"').partition("=") for part in _PAIR.split(text))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals and key.strip() and value.strip()}
