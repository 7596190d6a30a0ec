"""Prices as tables show them."""

from decimal import Decimal

_DECIMALS = 2


def shown_price(price: Decimal | None, currency: str | None) -> str:
    """A price with at least two decimals and its currency, such as `12.90 EUR`; empty without one."""
    if price is None:
        return ""
    exponent = price.as_tuple().exponent
    decimals = max(_DECIMALS, -exponent if isinstance(exponent, int) else _DECIMALS)
    return f"{price:.{decimals}f} {currency or ''}".rstrip()
