"""Rows in the project's terms, and the products that they become with pictures that have their names for bytes."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from framematch.catalog.importing.gathering.gather import gather
from framematch.catalog.importing.gathering.product_group import ProductGroup
from framematch.catalog.importing.gathering.source_row import Role, SourceRow
from framematch.catalog.importing.gathering.visual_products import VisualProduct, visual_products
from framematch.catalog.importing.pictures.catalogue_pictures import PictureProblem
from framematch.catalog.importing.presets.preset import Layout
from framematch.catalog.importing.problems import ProblemKind, RowProblem
from framematch.catalog.product import Product, View

MISSING = "missing"
"""Pictures with names that begin so are not there."""


def row(role: Role, product_id: str | None, /, line: int = 2, **fields: Any) -> SourceRow:
    return SourceRow(line, line, role, id=product_id, **fields)


def on_lines(*rows: SourceRow) -> list[SourceRow]:
    """The rows on the lines behind a header, in this order."""
    return [replace(one, line=line, last_line=line) for line, one in enumerate(rows, start=2)]


def good_group(rows: Sequence[SourceRow], layout: Layout) -> ProductGroup:
    group = gather(rows, layout)
    assert isinstance(group, ProductGroup), group
    return group


def refusals(rows: Sequence[SourceRow | RowProblem], layout: Layout) -> list[tuple[int, str]]:
    """The line and the reason of each problem."""
    problems = gather(rows, layout)
    assert not isinstance(problems, ProductGroup)
    return [(problem.line, problem.reason) for problem in problems]


def view_of(name: str) -> View:
    """The view of a picture; names that differ only behind `#` have equal bytes."""
    return View(hashlib.sha256(name.partition("#")[0].encode()).hexdigest(), 8, 8)


def views_of(names: Iterable[str]) -> Mapping[str, View | PictureProblem]:
    return {
        name: PictureProblem(ProblemKind.NO_IMAGE, f"image {name!r} not found")
        if name.startswith(MISSING)
        else view_of(name)
        for name in names
    }


def look(product: Product, names: Iterable[str]) -> bool:
    """Whether the product's views are the pictures with these names, in this order."""
    return product.views == tuple(map(view_of, names))


def visual_of(group: ProductGroup, *, strict: bool = False) -> list[VisualProduct]:
    found = visual_products(group, views_of(group.picture_names), strict=strict)
    assert found
    good = [one for one in found if isinstance(one, VisualProduct)]
    assert len(good) == len(found), found
    return good


def products_of(group: ProductGroup) -> list[Product]:
    return [one.product for one in visual_of(group)]


def notices_of(group: ProductGroup) -> list[tuple[str, str]]:
    """The title and the example of each notice."""
    return [(notice.title, notice.example) for one in visual_of(group) for notice in one.notices]


def visual_refusals(group: ProductGroup, *, strict: bool = False) -> list[tuple[int, str]]:
    found = visual_products(group, views_of(group.picture_names), strict=strict)
    problems = [one for one in found if isinstance(one, RowProblem)]
    assert problems
    assert len(problems) == len(found)
    return [(problem.line, problem.reason) for problem in problems]
