"""A product with its variants, as the rows of a catalogue file describe it together."""

from dataclasses import dataclass, field
from typing import Any

from framematch.catalog.importing.values.money import Money


@dataclass(frozen=True)
class Place:
    """The lines `line` to `last_line` of a file (1 is the first)."""

    line: int
    last_line: int


@dataclass(frozen=True)
class Variant:
    """An article that is sold; `own_images` are pictures that show this variant and not the others."""

    place: Place
    sku: str
    name: str | None = None
    gtin: str | None = None
    price: Money | None = None
    own_images: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ProductGroup:
    """What all rows of a product say: one fate for all of them.

    `images` are names of pictures of the product as a whole. Without variants it is an article by itself.
    """

    places: tuple[Place, ...]
    id: str
    name: str
    category: str | None = None
    description: str | None = None
    price: Money | None = None
    sku: str | None = None
    gtin: str | None = None
    images: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()

    @property
    def picture_names(self) -> tuple[str, ...]:
        """All pictures that the rows name, each once."""
        own = (name for variant in self.variants for name in variant.own_images)
        return tuple(dict.fromkeys([*self.images, *own]))
