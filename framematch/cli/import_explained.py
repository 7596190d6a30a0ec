"""`framematch catalog import --explain`: how a file would be read."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from framematch.cli.console import SafeConsole, new_console
from framematch.cli.import_progress import import_bar
from framematch.cli.text import counted

if TYPE_CHECKING:
    from framematch.catalog.importing.explain import Explanation
    from framematch.catalog.importing.gathering.product_group import ProductGroup
    from framematch.catalog.importing.options import ImportOptions

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_SHOWN_CHARACTERS = 60
_SHOWN_PICTURES = 3


async def show_explanation(file: Path, options: "ImportOptions") -> None:
    """Read the file, and show how.

    Raises:
        UsageError: the file cannot be read, or an option is wrong.
        CatalogError: it is no table of products.
    """
    from framematch.catalog.importing.explain import explain

    with import_bar() as bar:
        found = await explain(file, options, bar.show)
    console = new_console(soft_wrap=True)
    _show_facts(console, found)
    _show_mapping(console, found)
    for product in found.products:
        _show_product(console, product)
    for problem in found.problems:
        console.print(Text(f"{problem.place} would be refused: {problem.reason}", "yellow"))
    for notice in found.notices:
        console.print(Text(notice, "yellow"))


def _show_facts(console: SafeConsole, found: "Explanation") -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("table", found.preset)
    table.add_row("format", found.format)
    table.add_row("encoding", found.encoding)
    if found.delimiter:
        table.add_row("delimiter", _DELIMITERS.get(found.delimiter, repr(found.delimiter)))
    for column, sign in found.styles.items():
        table.add_row("decimal sign", f"{sign or 'not clear'} in {column!r}")
    blank = f", {counted(found.counts.blank_lines, 'blank line')}" if found.counts.blank_lines else ""
    table.add_row("rows", f"{found.counts.rows}{blank}")
    console.print(table)


def _show_mapping(console: SafeConsole, found: "Explanation") -> None:
    table = Table("Field", "Column", box=None, pad_edge=False)
    for field, column in found.mapping:
        table.add_row(field, column)
    console.print()
    console.print(table)


def _show_product(console: SafeConsole, product: "ProductGroup") -> None:
    console.print()
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _facts(product):
        table.add_row(name, value)
    console.print(table)


def _facts(product: "ProductGroup") -> Iterator[tuple[str, str]]:
    first = product.places[0].line
    more = f" and {counted(len(product.places) - 1, 'more row')}" if len(product.places) > 1 else ""
    yield "product", f"{product.id} (line {first}{more})"
    yield "name", product.name
    for name, text in (("category", product.category), ("description", product.description), ("gtin", product.gtin)):
        if text:
            yield name, _shortened(text)
    if product.price:
        yield "price", f"{product.price.amount} {product.price.currency or ''}".rstrip()
    yield "pictures", _several(product.picture_names)
    for variant in product.variants[:_SHOWN_PICTURES]:
        options = ", ".join(f"{name} {value}" for name, value in variant.options.items())
        price = f"{variant.price.amount} {variant.price.currency or ''}".rstrip() if variant.price else ""
        yield "variant", "  ".join(filter(None, (variant.sku, options, price)))
    if (more_variants := len(product.variants) - _SHOWN_PICTURES) > 0:
        yield "", f"and {counted(more_variants, 'more variant')}"
    if product.attributes:
        yield "attributes", _shortened(", ".join(f"{name}: {value}" for name, value in product.attributes.items()))


def _several(names: tuple[str, ...]) -> str:
    from framematch.catalog.importing.pictures.names import shown_name

    shown = ", ".join(map(shown_name, names[:_SHOWN_PICTURES]))
    return f"{shown} and {len(names) - _SHOWN_PICTURES} more" if len(names) > _SHOWN_PICTURES else shown or "none"


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"
