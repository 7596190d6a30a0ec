"""Reads one row: its texts, amounts and pictures, and all that is left as attributes."""

from collections.abc import Iterator, Mapping
from typing import Any

from framematch.catalog.importing.files.records import Record
from framematch.catalog.importing.gathering.source_row import SourceRow
from framematch.catalog.importing.presets.cell_values import (
    RowRefused,
    gtin_value,
    json_of_cell,
    key_values,
    money_value,
    text_value,
    with_currency,
)
from framematch.catalog.importing.presets.column_names import folded_name
from framematch.catalog.importing.presets.columns import RowCells, cells_of
from framematch.catalog.importing.presets.listed_skus import listed_skus
from framematch.catalog.importing.presets.localised_columns import currency_of_column
from framematch.catalog.importing.presets.picture_cells import is_picture_name, picture_names
from framematch.catalog.importing.presets.preset import ProductField
from framematch.catalog.importing.presets.row_identity import RowIdentity, children_of, identity_of, name_of
from framematch.catalog.importing.presets.row_texts import category_of, description_of
from framematch.catalog.importing.values.guards import unguarded
from framematch.catalog.importing.values.money import DecimalSign, Money

NO_GTIN = "barcodes that are no GTIN stay attributes"
"""A notice."""


def read_row(
    record: Record, cells: RowCells, styles: Mapping[str, DecimalSign | None], *, is_listed: bool = False
) -> SourceRow:
    """The row of a record with these cells; `is_listed`: a record within that of its product.

    Raises:
        RowRefused: a value is missing, or none of its kind.
    """
    identity = identity_of(cells)
    name = cells.read("name", _text_reader(cells))
    is_whole = cells.columns.preset.layout == "flat" and identity.role == "product" and not is_listed
    if is_whole and name is None:
        raise RowRefused(f"no {name_of(cells, 'name')}")
    price = _price(cells, styles)
    extra: dict[str, Any] = {}
    gtin, notices = _gtin(cells, extra)
    description, category = description_of(cells, extra), category_of(cells, extra)
    images, own_images = _pictures(cells, identity)
    if is_whole and not images:
        raise RowRefused(f"no {name_of(cells, 'images')}")
    return SourceRow(
        line=record.line,
        last_line=record.last_line,
        role=identity.role,
        id=identity.id,
        sku=identity.sku,
        gtin=gtin,
        name=name,
        category=category,
        description=description,
        price=price,
        images=images,
        own_images=own_images,
        options=identity.options,
        option_names=identity.option_names,
        options_by_sku=children_of(cells),
        variants=(*listed_skus(record, cells, identity.id, price), *_listed_records(record, cells, identity, styles)),
        attributes=_attributes(cells, extra),
        notices=notices,
    )


def _text_reader(cells: RowCells) -> Any:
    def read(column: str, value: Any) -> str | None:
        return text_value(column, _plain(cells, value))

    return read


def _plain(cells: RowCells, value: Any) -> Any:
    """The value without a guard."""
    return unguarded(value) if isinstance(value, str) and cells.columns.has_guards else value


def _gtin(cells: RowCells, extra: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    found = cells.first("gtin")
    if found is None:
        return None, ()
    gtin = gtin_value(*found)
    if gtin is not None:
        return gtin, ()
    column, value = found
    extra[column] = _plain(cells, value)
    return None, (NO_GTIN,)


def _price(cells: RowCells, styles: Mapping[str, DecimalSign | None]) -> Money | None:
    found, currency = cells.first("price"), cells.first("currency")
    if found is None:
        return None
    column, value = found
    price = money_value(column, value, styles.get(column) or cells.columns.preset.decimal)
    if cells.columns.preset.localised and (code := currency_of_column(column)):
        price = with_currency(price, column, code)
    if currency is not None:
        price = with_currency(price, *currency)
    return price if price.currency else Money(price.amount, cells.columns.currency)


def _pictures(cells: RowCells, identity: RowIdentity) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The pictures of the whole product, and those of the variant alone."""
    of_row = [name for name in _of_field(cells, "images") if folded_name(name) not in cells.columns.preset.no_picture]
    own = list(_of_field(cells, "own_images"))
    of_row += _in_folder(cells)
    if identity.role == "variant" and cells.columns.preset.layout != "sectioned":
        of_row, own = list(_of_field(cells, "product_images")), of_row + own
    return tuple(dict.fromkeys(of_row)), tuple(dict.fromkeys(own))


def _of_field(cells: RowCells, wanted: ProductField) -> Iterator[str]:
    for column, value in cells.all(wanted):
        yield from picture_names(column, value, cells.columns.picture_separator)


def _in_folder(cells: RowCells) -> Iterator[str]:
    """Pictures in columns that nobody has named, known by the folder of their names."""
    folder = cells.columns.preset.picture_folder
    for column, value in cells.fields.items() if folder else ():
        if column in cells.used or not isinstance(value, str) or not value.startswith(folder):
            continue
        names = list(picture_names(column, value, cells.columns.picture_separator))
        if all(map(is_picture_name, names)):
            cells.used.add(column)
            yield from names


def _listed_records(
    record: Record, cells: RowCells, identity: RowIdentity, styles: Mapping[str, DecimalSign | None]
) -> Iterator[SourceRow]:
    """The variants that stand within the record of their product."""
    preset, content = cells.columns.preset, record.content
    if preset.listed is None or preset.flattened is None or not isinstance(content, dict):
        return
    for one in preset.listed(content):
        # They say of which product they are, so that they are read as variants.
        fields = {**preset.flattened(one), preset.listed_parent: identity.id}
        yield read_row(
            Record(record.line, record.last_line, one), cells_of(cells.columns, fields), styles, is_listed=True
        )


def _attributes(cells: RowCells, extra: dict[str, Any]) -> dict[str, Any]:
    """All columns that were not read, with what reading others has left."""
    together = cells.first("attributes")
    columns = {
        column: _plain(cells, value)
        for column, value in cells.fields.items()
        if value is not None and column not in cells.used and not _is_left_out(cells, column)
    }
    columns |= extra
    if together is None:
        return columns
    column, value = together
    if isinstance(value, str) and cells.columns.preset.attribute_pairs:
        return {**key_values(value), **columns}
    if cells.columns.preset.name == "own":
        value = json_of_cell(value)
    if not isinstance(value, dict):
        return {**columns, column: value}
    if twice := value.keys() & columns.keys():
        raise RowRefused(f"{min(twice)!r} is given twice, also in attributes")
    return {**value, **columns}


def _is_left_out(cells: RowCells, column: str) -> bool:
    columns = cells.columns
    return column in columns.left_out or folded_name(column) in columns.preset.left_out
