"""Articles of a product, amounts and currencies, as requests and answers have them."""

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from framematch.catalog.importing.values.errors import ValueRefused
from framematch.catalog.importing.values.gtin import parse_gtin
from framematch.catalog.product import MAX_ID_CHARACTERS, Sku
from framematch.core.amounts import MAX_DIGITS


def _for_a_double(amount: Decimal) -> Decimal:
    if not math.isfinite(float(amount)):
        raise ValueError("is too large")
    return amount.copy_abs()  # no -0.0


def _sku_id(value: str) -> str:
    text = value.strip()
    if not text or "\0" in text:
        raise ValueError("is empty or has a NUL character")
    return text


def _gtin(value: str) -> str:
    try:
        return parse_gtin(value)
    except ValueRefused as error:
        raise ValueError(error.reason) from None


Amount = Annotated[
    Decimal,
    Field(ge=0, allow_inf_nan=False, max_digits=MAX_DIGITS),
    AfterValidator(_for_a_double),
    WithJsonSchema({"type": "number", "minimum": 0}),
]
"""A number from 0 on. In an answer it has exactly the catalogue's digits; a request's has those of a double."""
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", description="of all prices, by ISO 4217", examples=["EUR"])]
Gtin = Annotated[
    str,
    Field(pattern="^[0-9]{14}$", description="14 digits; a shorter one has zeros before", examples=["04006381333931"]),
]


class SkuAnswer(BaseModel):
    """An article that looks like the product, such as one of its sizes."""

    id: str = Field(examples=["shirt-red-m"])
    gtin: Gtin | None = None
    price: Amount | None = Field(None, examples=[19.90])
    options: dict[str, str] = Field({}, description="what tells it from the others", examples=[{"Size": "M"}])

    @classmethod
    def of(cls, sku: Sku) -> "SkuAnswer":
        """The one of an article."""
        return cls(id=sku.id, gtin=sku.gtin, price=sku.price, options=sku.options)


class SkuFields(SkuAnswer):
    """An article that looks like the product, as it is to be stored."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(max_length=MAX_ID_CHARACTERS, examples=["shirt-red-m"]), AfterValidator(_sku_id)]
    gtin: Annotated[Gtin, AfterValidator(_gtin)] | None = None

    def sku(self) -> Sku:
        """The article."""
        return Sku(self.id, self.gtin, self.price, self.options)


def different(skus: list[SkuFields]) -> list[SkuFields]:
    """Check that no two articles have the same id."""
    if repeated := _repeated(sku.id for sku in skus):
        raise ValueError(f"{repeated!r} is there twice")
    return skus


def _repeated(ids: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            return one
        seen.add(one)
    return None
