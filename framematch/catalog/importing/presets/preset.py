"""A shop's table as data: how it is recognised, and which of its columns has what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from framematch.catalog.importing.values.money import DecimalSign

ProductField = Literal[
    "id", "group", "parent", "sku", "gtin", "name", "category", "description", "price", "currency",
    "images", "own_images", "product_images", "skus", "attributes", "kind", "children", "store_view",
]  # fmt: skip
"""What a column may be mapped to.

`group` is what the variants of one product have in common, and `parent` names the row of the product that a variant
belongs to. `product_images` are pictures of the whole product in the row of a variant. `skus` and `attributes` have
several values in one cell. `kind` says what a row is, `children` are the articles of a product, and a row with a
`store_view` has only texts for a part of the shop.
"""
PRODUCT_FIELDS: tuple[ProductField, ...] = get_args(ProductField)

Layout = Literal["flat", "sectioned", "parent_child"]
"""How rows belong together: each row is an article, perhaps with a group; the first row of a section has the product
and the next ones variants or pictures; or parents and children are rows of their own that name each other."""


@dataclass(frozen=True)
class OptionColumns:
    """Which columns tell variants from each other.

    Attributes:
        pairs: columns with the name of an option, and the ones with its value.
        named: columns with a value, whose name is that of the option.
        absent: values that stand for no option, folded.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    named: tuple[str, ...] = ()
    absent: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Preset:
    """The names of columns are compared as `folded_name` has them, and stand here so.

    Attributes:
        name: for `--preset`; the versions of one shop's table share it.
        required: columns that all have to be there; another column of the same field will do.
        strong: columns that speak for it, beside the required ones.
        negative: columns that rule it out.
        sure: columns that no other table has together.
        columns: for each of our fields the columns that may have it; the first with a value counts, and of the
            pictures all of them.
        left_out: columns that say nothing about the product, and become no attributes.
        id_prefixes: what is put before the ids of a column, so that they differ from those of another column.
        picture_separator: between several pictures in a cell; "" if a cell has one.
        picture_folder: cells of all columns that start so and end like the name of a picture are pictures.
        no_picture: what stands in cells without a picture, folded.
        category_separator: between several categories in a cell.
        category_levels: between a category and the ones below it.
        attribute_pairs: the column of `attributes` has `k=v,k2=v2`.
        decimal: the sign before decimals in amounts that may be read in two ways, if the format prescribes it.
        html: descriptions may be HTML.
        escaped_line_ends: texts have a backslash and n for a line end.
        variant_kinds: the `kind` of rows that are variants, folded; other rows are variants if they have a parent.
        part_column: rows with this column and a parent are no articles, but say more about the product.
        localised: columns are named `attribute-locale-channel`.
        headerless: the names of the columns if the file has no header.
        flattened: turns a nested record into columns.
        listed: the records of variants within the one of their product.
        listed_parent: the column of such a variant that has the id of its product.
    """

    name: str
    title: str
    layout: Layout
    required: frozenset[str]
    strong: frozenset[str] = frozenset()
    negative: frozenset[str] = frozenset()
    sure: frozenset[str] = frozenset()
    columns: Mapping[ProductField, tuple[str, ...]] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    id_prefixes: Mapping[str, str] = field(default_factory=dict)
    options: OptionColumns = field(default_factory=OptionColumns)
    picture_separator: str = ","
    picture_folder: str = ""
    no_picture: frozenset[str] = frozenset()
    category_separator: str = ""
    category_levels: str = ">"
    attribute_pairs: bool = False
    decimal: DecimalSign | None = None
    html: bool = True
    escaped_line_ends: bool = False
    variant_kinds: frozenset[str] = frozenset()
    part_column: str = ""
    localised: bool = False
    headerless: tuple[str, ...] = ()
    flattened: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    listed: Callable[[Mapping[str, Any]], list[dict[str, Any]]] | None = None
    listed_parent: str = ""
