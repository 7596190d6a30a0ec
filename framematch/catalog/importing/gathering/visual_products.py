"""Decides which variants of a product a camera can tell apart: those with other pictures are products of their own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from framematch.catalog.importing.gathering.product_group import Place, ProductGroup, ProductNotice, Variant
from framematch.catalog.importing.gathering.variant_values import VariantValues, values_of
from framematch.catalog.importing.pictures.catalogue_pictures import PictureProblem
from framematch.catalog.importing.problems import ProblemKind, RowProblem
from framematch.catalog.product import Product, View
from framematch.core.redact import redact_url

LEFT_OUT = "pictures left out of products that have others"
SEVERAL_VARIANTS = "pictures left out, because they are of several variants with pictures of their own"
MERGED = "products that stand for several variants, which look the same"
WITHOUT_PICTURE = "variants without a picture, taken as the only other look of their product"

Views = Mapping[str, View | PictureProblem]
"""By the names of pictures in the file."""
Look = dict[str, View]
"""Different pictures by their digests."""


@dataclass(frozen=True)
class VisualProduct:
    """A product whose pictures tell it from the other ones of its group; `place` is the row that counts as it."""

    product: Product
    place: Place
    notices: tuple[ProductNotice, ...] = ()


def visual_products(
    group: ProductGroup, views: Views, *, strict: bool
) -> tuple[VisualProduct, ...] | tuple[RowProblem, ...]:
    """The products that stand for this group, at least one; or why its rows are refused.

    `views` has all `group.picture_names`. A variant looks like its own pictures; without any, like those of the product
    as a whole that are not the own ones of others. Variants that look the same are one product. If all do, it has the
    group's id and all pictures; else each has the id of its first article, and only pictures of its own. Looks that
    share only some pictures stay apart.

    Bad pictures are left out, unless it is `strict`. The group is refused if it has no good one, or if a variant has
    none while its siblings differ: nobody knows which of them it looks like, and to leave it out would lose its SKU.
    """
    bad = list(_bad_pictures(group, views))
    whole = _look(group.images, views)
    own = [_look(variant.own_images, views) for variant in group.variants]
    if (strict and bad) or not (whole or any(own)):
        return tuple(bad)
    looks = _looks(whole, own)
    parts: dict[frozenset[str], tuple[Look, list[Variant]]] = {}
    for variant, look in zip(group.variants, looks, strict=True):
        if look:
            parts.setdefault(frozenset(look), (look, []))[1].append(variant)
    lacking = [variant for variant, look in zip(group.variants, looks, strict=True) if not look]
    notices = [*group.notices, *(ProductNotice(LEFT_OUT, f"line {one.line}: {one.reason}") for one in bad)]
    if len(parts) <= 1:
        notices += [ProductNotice(WITHOUT_PICTURE, f"line {one.place.line}: {one.sku!r}") for one in lacking]
        return (_whole_product(group, _look(group.picture_names, views), notices),)
    if lacking:
        return tuple(_lacking_problem(variant, bad) for variant in lacking)
    notices += _untold(group, views, parts)
    telling = _telling_options([variants for _, variants in parts.values()])
    first, *others = (_part_product(group, variants, look, telling) for look, variants in parts.values())
    return (VisualProduct(first.product, first.place, (*notices, *first.notices)), *others)


def _looks(whole: Look, own: Sequence[Look]) -> list[Look]:
    of_variants = {digest for look in own for digest in look}
    others = {digest: view for digest, view in whole.items() if digest not in of_variants} or whole
    return [look or others for look in own]


def _whole_product(group: ProductGroup, look: Look, notices: Iterable[ProductNotice]) -> VisualProduct:
    values = values_of(group, group.variants, group.id)
    product = _product(group, group.id, group.name, values, look)
    merged = _merged(group.place, product) if len(group.variants) > 1 and not group.listed else ()
    return VisualProduct(product, group.place, (*notices, *values.notices, *merged))


def _part_product(
    group: ProductGroup, variants: Sequence[Variant], look: Look, telling: Sequence[str]
) -> VisualProduct:
    first = variants[0]
    values = values_of(group, variants, first.sku)
    product = _product(group, first.sku, _name(group, first, telling), values, look)
    merged = _merged(first.place, product) if len(variants) > 1 else ()
    return VisualProduct(product, first.place, (*values.notices, *merged))


def _product(group: ProductGroup, product_id: str, name: str, values: VariantValues, look: Look) -> Product:
    return Product(
        id=product_id,
        name=name,
        category=group.category,
        price=values.price,
        description=group.description,
        attributes=values.attributes,
        views=tuple(look.values()),
        currency=values.currency,
        skus=values.skus,
    )


def _merged(place: Place, product: Product) -> tuple[ProductNotice]:
    return (ProductNotice(MERGED, f"line {place.line}: {product.id!r} has {len(product.skus)} SKUs"),)


def _name(group: ProductGroup, variant: Variant, telling: Sequence[str]) -> str:
    """The variant's own name; if variants have no names of their own, the group's with what tells it from others."""
    names = {one.name for one in group.variants} - {None}
    if variant.name and (len(names) > 1 or variant.name != group.name):
        return variant.name
    values = [variant.options[name] for name in telling if name in variant.options]
    return ", ".join([group.name, *(values or [variant.sku])])


def _telling_options(parts: Sequence[Sequence[Variant]]) -> list[str]:
    """The names of options that are equal within each look, and not equal for all: the color, not the size."""
    names = dict.fromkeys(name for variants in parts for variant in variants for name in variant.options)
    values = {name: [{variant.options.get(name) for variant in variants} for variants in parts] for name in names}
    return [name for name in names if max(map(len, values[name])) == 1 and len(set().union(*values[name])) > 1]


def _look(names: Iterable[str], views: Views) -> Look:
    found = (views[name] for name in names)
    return {view.image: view for view in found if isinstance(view, View)}


def _bad_pictures(group: ProductGroup, views: Views) -> Iterator[RowProblem]:
    """Each bad picture once, with the first row that may name it."""
    named = [(name, group.place) for name in group.images]
    named += [(name, variant.place) for variant in group.variants for name in variant.own_images]
    places: dict[str, Place] = {}
    for name, place in named:
        places.setdefault(name, place)
    for name, place in places.items():
        problem = views[name]
        if isinstance(problem, PictureProblem):
            yield RowProblem(place.line, place.last_line, problem.kind, problem.reason)


def _lacking_problem(variant: Variant, bad: Sequence[RowProblem]) -> RowProblem:
    place, reason = variant.place, f"no picture shows how {variant.sku!r} differs from others of its product"
    own = next((one for one in bad if one.line == place.line), None)
    if own is None:
        return RowProblem(place.line, place.last_line, ProblemKind.FIELD, f"no image; {reason}")
    return RowProblem(place.line, place.last_line, own.kind, f"{own.reason}; {reason}")


def _untold(group: ProductGroup, views: Views, parts: Iterable[frozenset[str]]) -> Iterator[ProductNotice]:
    """Pictures of the whole product that no variant looks like."""
    told = frozenset().union(*parts)
    for name in group.images:
        view = views[name]
        if isinstance(view, View) and view.image not in told:
            yield ProductNotice(SEVERAL_VARIANTS, f"line {group.place.line}: {redact_url(name)!r}")
