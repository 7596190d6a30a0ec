"""Products as rows of a CSV file, which spreadsheets can open and an import reads back exactly."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from framematch.catalog.exporting.json_lines import picture_names, sku_fields
from framematch.catalog.importing.presets.column_names import folded_name
from framematch.catalog.importing.presets.shops.own import OWN
from framematch.catalog.importing.values.guards import guarded
from framematch.catalog.product import Product
from framematch.core import exact_json

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
"""At the start of the file: without it Excel takes the text for that of the computer's old code page."""
COLUMNS: Final = ("id", "name", "category", "price", "currency", "description", "skus", "images")
"""Before the columns of attributes; behind them is `attributes`."""
MAX_ATTRIBUTE_COLUMNS: Final = 200

_LAST = "attributes"
_CELL_CHARACTERS = 32_000  # Excel cuts a cell with more than 32,767
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ufeff\ud800-\udfff]")
_OWN_NAMES = frozenset(name for names in OWN.columns.values() for name in names)
_AMBIGUOUS_DECIMALS = 3


class AttributeColumns:
    """Collects which attributes get columns of their own: those that are text somewhere and fit into a cell."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def add(self, attributes: Mapping[str, Any]) -> None:
        """Take the attributes of a product."""
        for name, value in attributes.items():
            if _fits(value) and _is_column(name):
                self._names.setdefault(folded_name(name), set()).add(name)

    def chosen(self) -> tuple[str, ...]:
        """Up to `MAX_ATTRIBUTE_COLUMNS` names in their order; none of two that an import takes for the same."""
        distinct = sorted(next(iter(names)) for names in self._names.values() if len(names) == 1)
        return tuple(distinct[:MAX_ATTRIBUTE_COLUMNS])


def header_row(attributes: Iterable[str]) -> bytes:
    """The first line, with these attributes as columns."""
    return _row([*COLUMNS, *attributes, _LAST])


def product_row(product: Product, attributes: tuple[str, ...], files: Mapping[str, str] | None = None) -> bytes:
    """The row of a product; `attributes` has the names in the header, `files` those of picture files by digest.

    What is no short text, or has no column, is in the last cell as JSON.
    """
    own = {name: product.attributes[name] for name in attributes if _fits(product.attributes.get(name))}
    rest = {name: value for name, value in product.attributes.items() if name not in own}
    skus = [sku_fields(sku) for sku in product.skus]
    return _row(
        [
            guarded(product.id),
            guarded(product.name),
            guarded(product.category or ""),
            _price(product.price),
            product.currency or "",
            guarded(product.description or ""),
            exact_json.encode(skus).decode() if skus else "",
            guarded(";".join(picture_names(product, files))),
            *(guarded(own.get(name, "")) for name in attributes),
            exact_json.encode(rest).decode() if rest else "",
        ]
    )


def _fits(value: object) -> bool:
    """Whether a cell has the value exactly: spreadsheets and imports take spaces at its ends, and empty cells, away."""
    is_text = isinstance(value, str) and bool(value) and value == value.strip()
    return is_text and len(str(value)) <= _CELL_CHARACTERS and not _CONTROL.search(str(value))


def _is_column(name: str) -> bool:
    """Whether an import takes the name for that of an attribute, and no spreadsheet computes it."""
    folded = folded_name(name)
    return _fits(name) and bool(folded) and folded not in _OWN_NAMES and guarded(name) == name


def _price(price: Decimal | None) -> str:
    """The amount with a decimal point, and never with three decimals: `1.234` may be more than a thousand."""
    if price is None:
        return ""
    text = f"{price:f}"
    return f"{text}0" if len(text.partition(".")[2]) == _AMBIGUOUS_DECIMALS else text


def _row(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()
