"""Amounts of money in the spellings of shops and spreadsheets."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Money:
    """An exact amount, and its currency as ISO 4217 has it (`EUR`) if it is known."""

    amount: Decimal
    currency: str | None = None
