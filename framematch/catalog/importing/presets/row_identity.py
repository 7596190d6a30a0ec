"""What a row is: a product, a variant, more pictures or texts, of which product, and what tells it from others."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from framematch.catalog.importing.gathering.source_row import Role
from framematch.catalog.importing.presets.cell_values import RowRefused, id_value, key_values, normal_id, text_value
from framematch.catalog.importing.presets.column_names import folded_name
from framematch.catalog.importing.presets.columns import RowCells
from framematch.catalog.importing.presets.preset import ProductField

# What only rows of articles have, beside numbers and options.
_ARTICLE_FIELDS: tuple[ProductField, ...] = ("gtin", "price")


@dataclass(frozen=True)
class RowIdentity:
    """See `SourceRow` for the fields."""

    role: Role
    id: str
    sku: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    option_names: dict[str, str] = field(default_factory=dict)


def identity_of(cells: RowCells) -> RowIdentity:
    """What the row says about itself.

    Raises:
        RowRefused: it lacks an id, or has one that is none.
    """
    match cells.columns.preset.layout:
        case "flat":
            return _of_flat(cells)
        case "sectioned":
            return _of_section(cells)
        case "parent_child":
            return _of_family(cells)


def keys_of(cells: RowCells) -> Iterator[str]:
    """What rows of one product have in common, as far as this row says it.

    Raises:
        RowRefused: an id is none.
    """
    if (group := _id(cells, "group")) is not None:
        yield f"group:{group}"
        if cells.columns.preset.layout == "sectioned":
            return
    own_ids = [own for _, own in _own_ids(cells)]
    # Others name a row by any of its ids if these cannot be mistaken for each other.
    yield from (f"id:{own}" for own in (own_ids if cells.columns.preset.id_prefixes else own_ids[:1]))
    if (parent := _id(cells, "parent")) is not None:
        yield f"id:{parent}"
    yield from (f"id:{sku}" for sku in children_of(cells))


def children_of(cells: RowCells) -> dict[str, dict[str, str]]:
    """The articles that the row of a product names, `sku=A-1,color=Red|sku=A-2,color=Blue`, with their options."""
    text: str | None = cells.read("children", text_value)
    children = {}
    for child in (text or "").split("|"):
        options = key_values(child)
        if sku := options.pop("sku", None):
            children[normal_id(sku)] = options
    return children


def _of_flat(cells: RowCells) -> RowIdentity:
    own, group, sku = _own_id(cells), _id(cells, "group"), _id(cells, "sku")
    if group is None:
        return RowIdentity("product", own, sku if sku != own else None)
    return RowIdentity("variant", group, sku or own, *_options(cells))


def _of_section(cells: RowCells) -> RowIdentity:
    group = _needed(cells, "group")
    options, names = _options(cells)
    sku = _id(cells, "sku")
    is_article = bool(sku or options) or any(cells.first(one, keep=True) for one in _ARTICLE_FIELDS)
    if cells.first("name", keep=True):
        return RowIdentity("product", group, sku, options, names)
    return RowIdentity("variant" if is_article else "pictures", group, sku, options, names)


def _of_family(cells: RowCells) -> RowIdentity:
    parent = _id(cells, "parent")
    if cells.first("store_view"):
        return RowIdentity("translation", _own_id(cells))
    if parent is not None and cells.named(cells.columns.preset.part_column, keep=True):
        return RowIdentity("pictures", parent)
    if parent is None and _is_variant_kind(cells):
        raise RowRefused(f"no {name_of(cells, 'parent')}, and the row is a variant")
    if parent is None or all(own == parent for _, own in _own_ids(cells)):
        return RowIdentity("product", _own_id(cells))
    # A variation without a number of its own is exported with that of its parent.
    return RowIdentity("variant", parent, _own_id(cells, but=parent), *_options(cells))


def _is_variant_kind(cells: RowCells) -> bool:
    found = cells.first("kind", keep=True)
    kinds = {folded_name(kind) for kind in (text_value(*found) or "").split(",")} if found else set()
    return bool(kinds & cells.columns.preset.variant_kinds)


def _options(cells: RowCells) -> tuple[dict[str, str], dict[str, str]]:
    """The options of a variant by name, or by column if the row does not name them; and the names of columns."""
    columns = cells.columns.options
    options: dict[str, str] = {}
    names: dict[str, str] = {}
    for name_column, value_column in columns.pairs:
        found, named = cells.named(value_column), cells.named(name_column)
        value = text_value(*found) if found else None
        if value is None or folded_name(value) in columns.absent:
            continue
        key = value_column.removesuffix("value(s)").removesuffix("value").strip()
        if named and (name := text_value(*named)):
            names[key] = name
            key = name
        options[key] = value
    for column in columns.named:
        if (found := cells.named(column)) and (value := text_value(*found)):
            options[found[0].removeprefix("g:")] = value
    return options, names


def _own_ids(cells: RowCells) -> Iterator[tuple[str, str]]:
    """The columns with the row's own ids, and the ids."""
    prefixes = cells.columns.preset.id_prefixes
    for column, value in cells.all("id", keep=True):
        if (text := id_value(column, value, is_cell=cells.columns.has_guards)) is not None:
            yield column, prefixes.get(folded_name(column), "") + text


def _own_id(cells: RowCells, *, but: str | None = None) -> str:
    """The row's own id; the ids of other columns stay attributes."""
    for column, own in _own_ids(cells):
        cells.used.add(column)
        if own != but:
            return own
    raise RowRefused(f"no {name_of(cells, 'id')}")


def _needed(cells: RowCells, wanted: ProductField) -> str:
    found = _id(cells, wanted)
    if found is None:
        raise RowRefused(f"no {name_of(cells, wanted)}")
    return found


def _id(cells: RowCells, wanted: ProductField) -> str | None:
    def read(column: str, value: Any) -> str | None:
        return id_value(column, value, is_cell=cells.columns.has_guards)

    found: str | None = cells.read(wanted, read)
    return found


def name_of(cells: RowCells, wanted: ProductField) -> str:
    """How the file calls a column that the row lacks."""
    names = cells.columns.of_field.get(wanted, ())
    return names[0] if names else wanted
