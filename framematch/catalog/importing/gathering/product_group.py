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
class ProductNotice:
    """Something that the user should know about a product.

    `title` names the kind of thing, so that equal ones are counted; `example` says what and where it was.
    """

    title: str
    example: str


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

    Attributes:
        places: of all rows, in the order of the file.
        place: of the row that has the product as a whole, or of the first one.
        images: names of pictures of the product as a whole.
        variants: in the order of the file; without any it is an article by itself, with `sku` and `gtin`.
        listed: a single row lists the variants, as our exports do: they are stored as they stand there.
    """

    places: tuple[Place, ...]
    place: Place
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
    listed: bool = False
    notices: tuple[ProductNotice, ...] = ()

    @property
    def picture_names(self) -> tuple[str, ...]:
        """All pictures that the rows name, each once."""
        own = (name for variant in self.variants for name in variant.own_images)
        return tuple(dict.fromkeys([*self.images, *own]))
