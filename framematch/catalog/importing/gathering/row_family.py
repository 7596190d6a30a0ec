"""Which row of a product has the product as a whole, which ones are its variants, and which say more about them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from framematch.catalog.importing.gathering.source_row import SourceRow
from framematch.catalog.importing.presets.preset import Layout
from framematch.catalog.importing.problems import ProblemKind, RowProblem


@dataclass(frozen=True)
class RowFamily:
    """The rows of one product, each once, by what they have; all in the order of the file.

    `head` has the product as a whole. In a section it may be one of its variants too.
    """

    head: SourceRow | None
    variants: tuple[SourceRow, ...]
    pictures: tuple[SourceRow, ...]
    translations: tuple[SourceRow, ...]

    @property
    def is_head_variant(self) -> bool:
        """Whether the row of the product as a whole is that of a variant too."""
        return self.head is not None and any(row.line == self.head.line for row in self.variants)

    @property
    def first(self) -> SourceRow:
        """The row that stands for the product, for instance in what is said about it."""
        return self.head or next(iter((*self.variants, *self.pictures, *self.translations)))


class FamilyRefused(Exception):  # noqa: N818  # it says what became of the rows; `gather` returns the problems
    """Rows contradict each other."""

    def __init__(self, problems: Iterable[RowProblem]) -> None:
        super().__init__()
        self.problems = tuple(problems)


def problem_of(row: SourceRow, kind: ProblemKind, reason: str) -> RowProblem:
    """Why this row is refused."""
    return RowProblem(row.line, row.last_line, kind, reason)


def family_of(rows: Sequence[SourceRow], layout: Layout) -> RowFamily:
    """Sort the rows of one product.

    Raises:
        FamilyRefused: two rows have the same thing, or belong to two products.
    """
    match layout:
        case "flat":
            return _flat(rows)
        case "sectioned":
            return _section(rows)
        case "parent_child":
            return _parents(rows)


def _flat(rows: Sequence[SourceRow]) -> RowFamily:
    products, variants = _of_role(rows, "product"), _of_role(rows, "variant")
    if products and variants:
        first, *others = _in_order(products, variants)
        raise FamilyRefused(_duplicate(row, first) for row in others)
    if others := [row for row in variants if row.id != variants[0].id]:
        raise FamilyRefused(_elsewhere(row, variants[0]) for row in others)
    head, pictures = _one_head(products)
    return RowFamily(head, variants, (*pictures, *_of_role(rows, "pictures")), _of_role(rows, "translation"))


def _section(rows: Sequence[SourceRow]) -> RowFamily:
    products = _of_role(rows, "product")
    head = products[0] if products else None
    if others := [row for row in products if row.name != products[0].name]:
        raise FamilyRefused(
            problem_of(row, ProblemKind.DUPLICATE, f"another name than line {products[0].line} has for {row.id!r} too")
            for row in others
        )
    # Some exports have the title in every row. Without a number and options it is there for another picture.
    more = [row for row in products[1:] if not row.sku and not row.options]
    articles = [row for row in products[1:] if row.sku or row.options]
    variants = _in_order(_of_role(rows, "variant"), articles)
    if head and (head.options or (variants and head.sku)):
        variants = _in_order(variants, [head])
    return RowFamily(head, variants, _in_order(_of_role(rows, "pictures"), more), _of_role(rows, "translation"))


def _parents(rows: Sequence[SourceRow]) -> RowFamily:
    products = _of_role(rows, "product")
    options = {sku: options for row in products for sku, options in row.options_by_sku.items() if sku != row.id}
    heads = [row for row in products if row.id not in options]
    children = [_as_variant(row, options[row.id]) for row in products if row.id is not None and row.id in options]
    variants = _in_order(_of_role(rows, "variant"), children)
    if others := [row for row in heads[1:] if row.id != heads[0].id]:
        raise FamilyRefused(_elsewhere(row, heads[0]) for row in others)
    head, pictures = _one_head(heads)
    return RowFamily(head, variants, (*pictures, *_of_role(rows, "pictures")), _of_role(rows, "translation"))


def _as_variant(row: SourceRow, options: dict[str, str]) -> SourceRow:
    """A row of its own, which that of its product names."""
    own_images = tuple(dict.fromkeys([*row.own_images, *row.images]))
    return replace(
        row, role="variant", sku=row.sku or row.id, images=(), own_images=own_images, options=options | row.options
    )


def _of_role(rows: Iterable[SourceRow], role: str) -> tuple[SourceRow, ...]:
    return tuple(row for row in rows if row.role == role)


def _in_order(*several: Iterable[SourceRow]) -> tuple[SourceRow, ...]:
    return tuple(sorted(chain.from_iterable(several), key=lambda row: row.line))


def _one_head(products: Sequence[SourceRow]) -> tuple[SourceRow | None, list[SourceRow]]:
    """The first product, and rows that differ from it only in that they have more pictures.

    Raises:
        FamilyRefused: another row differs otherwise, or not at all.
    """
    if not products:
        return None, []
    head, *others = products
    if duplicates := [_duplicate(row, head) for row in others if not _has_only_pictures(row, head)]:
        raise FamilyRefused(duplicates)
    return head, others


def _has_only_pictures(row: SourceRow, head: SourceRow) -> bool:
    """Whether the row has pictures that the product does not have, and repeats everything else or leaves it out."""
    texts = ((row.name, head.name), (row.category, head.category), (row.description, head.description))
    articles = ((row.sku, head.sku), (row.gtin, head.gtin), (row.price, head.price))
    return (
        not {*row.images, *row.own_images} <= {*head.images, *head.own_images}
        and all(own in {None, of_head} for own, of_head in (*texts, *articles))
        and all(name in head.attributes and head.attributes[name] == own for name, own in row.attributes.items())
        and not row.variants
    )


def _duplicate(row: SourceRow, first: SourceRow) -> RowProblem:
    same = row.sku if row.role == "variant" else row.id
    return problem_of(row, ProblemKind.DUPLICATE, f"duplicate id {same!r}, first on line {first.line}")


def _elsewhere(row: SourceRow, first: SourceRow) -> RowProblem:
    reason = f"shares an article with line {first.line}, but is of the product {row.id!r}, not {first.id!r}"
    return problem_of(row, ProblemKind.DUPLICATE, reason)


def rows_of(family: RowFamily) -> Iterator[SourceRow]:
    """Its rows, that of the product as a whole first, each once."""
    if family.head is not None:
        yield family.head
    others = (*family.variants, *family.pictures, *family.translations)
    yield from (row for row in others if family.head is None or row.line != family.head.line)
