"""A shop's table as data: how it is recognised, and which of its columns has what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ProductField = Literal[
    "id", "group", "sku", "gtin", "name", "category", "description", "price", "currency", "images", "own_images"
]
"""What a column may be mapped to. `group` is what the variants of one product have in common."""
PRODUCT_FIELDS: tuple[ProductField, ...] = (
    "id", "group", "sku", "gtin", "name", "category", "description", "price", "currency", "images", "own_images",
)  # fmt: skip

Layout = Literal["flat", "sectioned", "parent_child"]
"""How rows belong together: each row is an article, perhaps with a group; the first row of a section has the product
and the next ones variants or pictures; or parents and children are rows of their own that name each other."""


@dataclass(frozen=True)
class Preset:
    """The names of columns are compared as `folded_name` has them.

    Attributes:
        required: columns that all have to be there.
        strong: columns that speak for it, beside the required ones.
        negative: columns that rule it out.
        columns: for each of our fields the columns that may have it; the first with a value counts, and of the
            pictures all of them.
        picture_separator: between several pictures in a cell; "" if a cell has one.
    """

    name: str
    title: str
    layout: Layout
    required: frozenset[str]
    strong: frozenset[str] = frozenset()
    negative: frozenset[str] = frozenset()
    columns: Mapping[ProductField, tuple[str, ...]] = field(default_factory=dict)
    picture_separator: str = ","
