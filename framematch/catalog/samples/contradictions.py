"""Finds pictures that are said to show two different things: no rate can be stated with them."""

from collections.abc import Iterable
from dataclasses import dataclass

from framematch.catalog.samples.sample import Label
from framematch.core.errors import CatalogError


@dataclass(frozen=True)
class Statement:
    """What somebody says that a picture shows; `where` names the picture for people."""

    image: str
    label: Label
    product_id: str | None
    where: str

    @property
    def shown(self) -> str:
        """What it shows, in words."""
        if self.label == "product":
            return f"product {self.product_id!r}"
        return "a product that the catalogue lacks" if self.label == "stranger" else "no product"


def check_agreement(statements: Iterable[Statement]) -> None:
    """Refuse statements of which two contradict each other.

    Raises:
        CatalogError: a picture is said to show two things; the message names both.
    """
    first: dict[str, Statement] = {}
    for one in statements:
        other = first.setdefault(one.image, one)
        if (other.label, other.product_id) != (one.label, one.product_id):
            raise CatalogError(
                f"one picture is said to show two things: {other.where} shows {other.shown}, and {one.where}, which "
                f"has the same bytes, {one.shown}",
                hint="Remove the wrong one; --forget drops what earlier folders have said",
            )
