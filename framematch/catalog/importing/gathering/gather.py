"""Makes one product of all its rows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from framematch.catalog.importing.gathering.product_group import Place, ProductGroup, ProductNotice, Variant
from framematch.catalog.importing.gathering.row_family import (
    FamilyRefused,
    RowFamily,
    family_of,
    problem_of,
    rows_of,
)
from framematch.catalog.importing.gathering.source_row import SourceRow
from framematch.catalog.importing.presets.preset import Layout
from framematch.catalog.importing.problems import ProblemKind, RowProblem

MAX_VARIANTS = 2_048
"""Of one product; shops allow as many (Shopify), and each event of the product names all that look the same."""
NO_PARENT = "variants without the row of their product, which are a product of their own"


@dataclass(frozen=True)
class _Texts:
    """What rows may say about a product or a variant together; the first one that says something counts."""

    name: str | None
    category: str | None
    description: str | None
    attributes: dict[str, Any]


def gather(rows: Sequence[SourceRow | RowProblem], layout: Layout) -> ProductGroup | tuple[RowProblem, ...]:
    """The product of these rows, at least one, in the order of the file; or why they are refused, all of them.

    The order of rows matters only where they contradict each other: then the first one counts.
    """
    if problems := tuple(row for row in rows if isinstance(row, RowProblem)):
        return problems
    try:
        family = family_of([row for row in rows if isinstance(row, SourceRow)], layout)
        group = _group(_translated(family))
    except FamilyRefused as refused:
        return refused.problems
    if layout == "flat" and group.variants and family.head:
        return replace(group, listed=True)
    if layout == "parent_child" and family.head is None:
        return replace(group, notices=(*group.notices, ProductNotice(NO_PARENT, f"line {family.first.line}")))
    return group


def _group(family: RowFamily) -> ProductGroup:
    first, head = family.first, family.head
    variants = _variants(family)
    by_itself = head if head and not variants else None
    texts = _texts(rows_of(family))
    lines = {row.line for row in family.variants}
    images = [name for row in rows_of(family) for name in (*row.images, *(() if row.line in lines else row.own_images))]
    if first.id is None:
        raise FamilyRefused([problem_of(first, ProblemKind.FIELD, "no id")])
    if texts.name is None:
        raise FamilyRefused([problem_of(first, ProblemKind.FIELD, f"no name: no row of {first.id!r} has one")])
    group = ProductGroup(
        places=tuple(sorted((_place(row) for row in rows_of(family)), key=lambda place: place.line)),
        place=_place(first),
        id=first.id,
        name=texts.name,
        category=texts.category,
        description=texts.description,
        price=head.price if head and not family.is_head_variant else None,
        sku=by_itself.sku if by_itself else None,
        gtin=by_itself.gtin if by_itself else None,
        images=tuple(dict.fromkeys(images)),
        attributes=_texts((*([head] if head else []), *family.pictures)).attributes,
        variants=variants,
        notices=tuple(_notices(family)),
    )
    if not group.picture_names:
        raise FamilyRefused([problem_of(first, ProblemKind.FIELD, "no image")])
    return group


def _texts(rows: Iterable[SourceRow]) -> _Texts:
    several = list(rows)
    attributes: dict[str, Any] = {}
    for row in several:
        attributes = {**row.attributes, **attributes}
    return _Texts(
        name=next((row.name for row in several if row.name), None),
        category=next((row.category for row in several if row.category), None),
        description=next((row.description for row in several if row.description), None),
        attributes=attributes,
    )


def _translated(family: RowFamily) -> RowFamily:
    """The family with texts of translations where other rows have none.

    Raises:
        FamilyRefused: a translation is of no row here.
    """
    texts: dict[str | None, list[SourceRow]] = {}
    for row in family.translations:
        texts.setdefault(row.id, []).append(row)
    known = {family.head.id if family.head else None, *(variant.sku for variant in family.variants)}
    if lonely := [row for row in family.translations if row.id not in known]:
        reason = "no row describes {!r} itself; this one has only texts for a part of the shop"
        raise FamilyRefused(problem_of(row, ProblemKind.FIELD, reason.format(row.id)) for row in lonely)
    head = family.head and _filled(family.head, texts.get(family.head.id, ()))
    variants = tuple(_filled(variant, texts.get(variant.sku, ())) for variant in family.variants)
    return replace(family, head=head, variants=variants)


def _filled(row: SourceRow, translations: Sequence[SourceRow]) -> SourceRow:
    texts = _texts((row, *translations))
    return replace(
        row, name=texts.name, category=texts.category, description=texts.description, attributes=texts.attributes
    )


def _variants(family: RowFamily) -> tuple[Variant, ...]:
    """All variants, with an article number each.

    Raises:
        FamilyRefused: two have the same, one has none, or there are too many.
    """
    own = {row.sku for row in family.variants}  # a variant that is listed too says more in its own row
    listed = family.head.variants if family.head else ()
    rows = (*(row for row in listed if row.sku not in own), *family.variants)
    if len(rows) > MAX_VARIANTS:
        reason = f"the product has more than {MAX_VARIANTS} variants"
        raise FamilyRefused([problem_of(rows[MAX_VARIANTS], ProblemKind.TOO_LONG, reason)])
    names = {key: name for row in rows_of(family) for key, name in row.option_names.items()}
    variants = [_variant(row, {names.get(key, key): value for key, value in row.options.items()}) for row in rows]
    first: dict[str, Variant] = {}
    problems = [
        problem_of(row, ProblemKind.DUPLICATE, f"duplicate sku {variant.sku!r}, first on line {known.place.line}")
        for row, variant in zip(rows, variants, strict=True)
        if (known := first.setdefault(variant.sku, variant)) is not variant
    ]
    if problems:
        raise FamilyRefused(problems)
    return tuple(variants)


def _variant(row: SourceRow, options: dict[str, str]) -> Variant:
    sku = row.sku or ("/".join([row.id or "", *options.values()]) if options else None)
    if sku is None:
        reason = "no sku, and no option that tells this variant from others"
        raise FamilyRefused([problem_of(row, ProblemKind.FIELD, reason)])
    return Variant(
        place=_place(row),
        sku=sku,
        name=row.name,
        gtin=row.gtin,
        price=row.price,
        own_images=row.own_images,
        options=options,
        attributes=row.attributes,
    )


def _notices(family: RowFamily) -> Iterator[ProductNotice]:
    for row in rows_of(family):
        yield from (ProductNotice(title, f"line {row.line}") for title in row.notices)


def _place(row: SourceRow) -> Place:
    return Place(row.line, row.last_line)
