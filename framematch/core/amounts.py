"""Amounts of money as decimals: no digit is lost, and none is invented."""

import math
import re
from decimal import Decimal
from typing import Any, Final

MAX_DIGITS: Final = 34
"""Of an amount: MongoDB's decimals have no more."""

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)


def to_amount(value: Any) -> Decimal | None:
    """The amount that a number, or a number written as text, says; None if it says none.

    A double has the digits that tell it from others (`repr`). An amount is not negative, has up to `MAX_DIGITS` digits,
    and is within a double's range, as readers of JSON expect.
    """
    amount = _number(value)
    if amount is None or not amount.is_finite() or amount < 0 or not math.isfinite(float(amount)):
        return None
    return amount.copy_abs() if len(amount.as_tuple().digits) <= MAX_DIGITS else None  # no -0.0


def _number(value: Any) -> Decimal | None:
    match value:
        case bool():
            return None
        case int() | Decimal():
            return Decimal(value)
        case float():
            return Decimal(repr(float(value)))
        case str() if _NUMBER.fullmatch(value.strip()):
            return Decimal(value.strip())
    return None
