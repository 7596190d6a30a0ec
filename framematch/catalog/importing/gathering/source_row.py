"""A row of a catalogue file in the project's terms, whatever the shop's format is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from framematch.catalog.importing.values.money import Money

Role = Literal["product", "variant", "pictures", "translation"]
"""What a row says: a product by itself or the parent of variants; something that is sold as one of the variants of a
product; only more pictures of the product; or texts of a thing that another row describes."""


@dataclass(frozen=True)
class SourceRow:
    """The row on the lines `line` to `last_line` (1 is the file's first).

    Attributes:
        id: the product's id: of a row with the role `product` its own, else that of the product it belongs to, if the
            row says it.
        sku: the number of the article that is sold; None if the row is none.
        images: names of the pictures of the whole product, each once.
        own_images: names of the pictures of this variant alone.
        options: what tells this variant from the others, such as `{"Size": "M"}`.
        option_names: `{"option1": "Size"}`: other rows of the product have this option as `option1`.
        attributes: all other columns of the product with a value.
        variants: articles of the product that the row itself lists, with the role `variant`.
        options_by_sku: articles of the product that have rows of their own, and what tells them apart.
        notices: what the user should know about the row, the same words for each row with it.
    """

    line: int
    last_line: int
    role: Role
    id: str | None = None
    sku: str | None = None
    gtin: str | None = None
    name: str | None = None
    category: str | None = None
    description: str | None = None
    price: Money | None = None
    images: tuple[str, ...] = ()
    own_images: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    option_names: Mapping[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    variants: tuple["SourceRow", ...] = ()
    options_by_sku: Mapping[str, dict[str, str]] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
