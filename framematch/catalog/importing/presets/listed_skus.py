"""Reads the articles in the column `skus` of the project's own table: a list in JSON."""

from decimal import Decimal
from typing import Any

from framematch.catalog.importing.files.records import Record
from framematch.catalog.importing.gathering.source_row import SourceRow
from framematch.catalog.importing.presets.cell_values import (
    RowRefused,
    gtin_value,
    id_value,
    json_of_cell,
    money_value,
    with_currency,
)
from framematch.catalog.importing.presets.columns import RowCells, is_empty
from framematch.catalog.importing.values.money import Money

_SKU_KEYS = {"id", "gtin", "price", "options"}


def listed_skus(record: Record, cells: RowCells, product_id: str, price: Money | None) -> tuple[SourceRow, ...]:
    """The articles in the column `skus`, as our own export writes them; their prices have the currency of the product.

    Raises:
        RowRefused: the cell is no list of articles.
    """
    found = cells.first("skus")
    several = None if found is None else json_of_cell(found[1], parse_float=Decimal)
    if several is None:
        return ()
    if not isinstance(several, list):
        raise RowRefused("skus is no list of articles")
    currency = price.currency if price else _stated_currency(cells)
    return tuple(_article(record, product_id, one, currency) for one in several)


def _stated_currency(cells: RowCells) -> str | None:
    """That of a product whose articles alone have prices."""
    stated = cells.first("currency")
    return cells.columns.currency if stated is None else with_currency(Money(Decimal(0)), *stated).currency


def _article(record: Record, product_id: str, article: Any, currency: str | None) -> SourceRow:
    if not isinstance(article, dict) or set(article) - _SKU_KEYS:
        raise RowRefused(f"skus has an article with other keys than {', '.join(sorted(_SKU_KEYS))}")
    sku = id_value("id of skus", article.get("id"), is_cell=False)
    if sku is None:
        raise RowRefused("skus has an article without id")
    options = article.get("options") or {}
    if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
        raise RowRefused(f"the options of {sku!r} in skus are no texts")
    gtin, amount = article.get("gtin"), article.get("price")
    number = None if is_empty(gtin) else gtin_value("gtin of skus", gtin)
    if not is_empty(gtin) and number is None:
        raise RowRefused(f"the gtin of {sku!r} in skus is no GTIN")
    money = None if is_empty(amount) else Money(money_value("price of skus", amount, ".").amount, currency)
    return SourceRow(
        record.line, record.last_line, "variant", id=product_id, sku=sku, gtin=number, price=money, options=options
    )
