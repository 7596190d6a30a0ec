"""What variants that look the same have in common, and what each of them has alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from framematch.catalog.importing.gathering.product_group import ProductGroup, ProductNotice, Variant
from framematch.catalog.product import Sku

OTHER_CURRENCY = "prices left out, in another currency than others of their product have"
DIFFERENT = "attributes left out, which differ between variants that look the same"


@dataclass(frozen=True)
class VariantValues:
    """Of one product: its price and attributes, and its articles."""

    price: Decimal | None
    currency: str | None
    skus: tuple[Sku, ...]
    attributes: dict[str, Any]
    notices: tuple[ProductNotice, ...]


def values_of(group: ProductGroup, variants: Sequence[Variant], product_id: str) -> VariantValues:
    """What these variants of the group are together, as the product `product_id`; without any the group by itself.

    If all have the same price, the product has it and its articles have none; else they have theirs, and it has none.
    """
    if not variants:
        return _by_itself(group)
    attributes, differing = _attributes(group, variants)
    if group.listed:
        return _listed(group, attributes)
    stated = [variant.price or group.price for variant in variants]
    currency = next((price.currency for price in stated if price and price.currency), None)
    prices = [price if price and price.currency in {None, currency} else None for price in stated]
    amounts = [price.amount if price else None for price in prices]
    common = amounts[0] if len(set(amounts)) == 1 else None
    articles = [
        Sku(variant.sku, variant.gtin, None if common is not None else amount, variant.options)
        for variant, amount in zip(variants, amounts, strict=True)
    ]
    notices = [
        ProductNotice(OTHER_CURRENCY, f"line {variant.place.line}: {price.amount} {price.currency}")
        for variant, price, kept in zip(variants, stated, prices, strict=True)
        if price and not kept
    ]
    notices += [ProductNotice(DIFFERENT, f"line {variants[0].place.line}: {name!r}") for name in differing]
    return VariantValues(common, currency, _skus(product_id, articles), attributes, tuple(notices))


def _by_itself(group: ProductGroup) -> VariantValues:
    skus = _skus(group.id, [Sku(group.sku or group.id, group.gtin)])
    price, currency = (group.price.amount, group.price.currency) if group.price else (None, None)
    return VariantValues(price, currency, skus, group.attributes, notices=())


def _skus(product_id: str, articles: Sequence[Sku]) -> tuple[Sku, ...]:
    """The articles; none if the only one says nothing but the product's id."""
    return () if list(articles) == [Sku(product_id)] else tuple(articles)


def _listed(group: ProductGroup, attributes: dict[str, Any]) -> VariantValues:
    """The articles as one row lists them."""
    skus = tuple(
        Sku(variant.sku, variant.gtin, variant.price.amount if variant.price else None, variant.options)
        for variant in group.variants
    )
    of_variants = next((variant.price.currency for variant in group.variants if variant.price), None)
    amount, currency = (group.price.amount, group.price.currency) if group.price else (None, of_variants)
    return VariantValues(amount, currency, skus, attributes, notices=())


def _attributes(group: ProductGroup, variants: Sequence[Variant]) -> tuple[dict[str, Any], list[str]]:
    """What all variants have in common, each with the group's values where it has none; and which names differ."""
    first, *others = [{**group.attributes, **variant.attributes} for variant in variants]
    names = dict.fromkeys(name for one in (first, *others) for name in one)
    common = {
        name: first[name]
        for name in names
        if name in first and all(name in other and other[name] == first[name] for other in others)
    }
    return common, [name for name in names if name not in common]
