"""Shows how a file would be read, without a database: its format, what its columns mean, and its first products."""

from dataclasses import dataclass
from pathlib import Path

from framematch.catalog.importing.first_pass import RowCounts, Styles, open_table, read_rows
from framematch.catalog.importing.gathering.gather import gather
from framematch.catalog.importing.gathering.product_group import ProductGroup
from framematch.catalog.importing.gathering.row_spool import RowSpool
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.importing.problems import RowProblem
from framematch.core.progress import OnProgress

_EXAMPLES = 3


@dataclass(frozen=True)
class Explanation:
    """How a file is read.

    Attributes:
        format, encoding, delimiter: of the file; the delimiter of CSV, else None.
        preset: the title of the shop's table.
        mapping: our fields, and the columns of the file that have them.
        styles: the decimal sign of each column with amounts of money.
        counts: its rows and blank lines.
        products: the first ones that are good, without a look at their pictures.
        problems: why the first rows before the last of them would be refused.
        notices: what else is worth knowing.
    """

    format: str
    encoding: str
    delimiter: str | None
    preset: str
    mapping: tuple[tuple[str, str], ...]
    styles: Styles
    counts: RowCounts
    products: tuple[ProductGroup, ...]
    problems: tuple[RowProblem, ...]
    notices: tuple[str, ...]


async def explain(
    path: Path, options: ImportOptions, on_progress: OnProgress = lambda _done, _total: None
) -> Explanation:
    """Read a file once, and say how. Nothing is stored.

    Raises:
        UsageError: the file cannot be read, or an option is wrong.
        CatalogError: it is no table of products.
    """
    with open_table(path, options) as table, RowSpool() as spool:
        counts, styles = await read_rows(table, spool, lambda rows: on_progress(rows, 0))
        products: list[ProductGroup] = []
        problems: list[RowProblem] = []
        for rows in spool.groups():
            found = gather([table.mapping.source_row(row, styles) for row in rows], table.mapping.layout)
            if isinstance(found, ProductGroup):
                products.append(found)
            elif len(problems) < _EXAMPLES:
                problems += found
            if len(products) == _EXAMPLES:
                break
        return Explanation(
            format=table.source.format,
            encoding=table.source.encoding,
            delimiter=table.source.delimiter,
            preset=table.mapping.preset.title,
            mapping=table.mapping.described(),
            styles=styles,
            counts=counts,
            products=tuple(products),
            problems=tuple(problems[:_EXAMPLES]),
            notices=table.source.notices,
        )
