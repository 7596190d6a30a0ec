"""`framematch catalog list`: the products, by category and words."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from framematch.cli.amounts import shown_price
from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import new_console
from framematch.cli.database import open_database
from framematch.cli.text import counted
from framematch.core import exact_json
from framematch.core.printable import printable

if TYPE_CHECKING:
    from framematch.catalog.products import Product

app = typer.Typer()


@app.command(name="list", epilog='Example: `framematch catalog list --q "granny smith" --json | jq -r .id`')
def list_products(
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of products.")] = 20,
    category: Annotated[str | None, typer.Option(help="Only products of this category.")] = None,
    q: Annotated[
        str | None,
        typer.Option(
            "--q",
            metavar="WORDS",
            help="Only products that have each word somewhere in the name, category, brand, description or the numbers "
            "of their articles, or whose id starts so.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, with all fields.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """List products in the order of their ids."""
    settings = prepare_command("catalog", config)
    from framematch.catalog.products import ProductStore

    async def run() -> "tuple[list[Product], int | None]":
        async with open_database(settings) as database:
            store = ProductStore(database)
            products = [product async for product in store.iterate(category=category, words=q, limit=limit + 1)]
            # Counting what fits words reads all products once more.
            return products, None if q else await store.count(category=category)

    found, count = asyncio.run(run())
    products = found[:limit]
    console = new_console(soft_wrap=True)
    if as_json:
        for product in products:
            console.out_json(exact_json.encode(product))
        return
    console.print(_table(products))
    more = ", and there are more (--limit)" if len(found) > limit else ""
    counts = f"{counted(len(products), 'product')}{more}" if count is None else f"{len(products)} of {count} products"
    console.print(counts, style="dim")


def _table(products: "list[Product]") -> Table:
    table = Table("Id", "Name", "Category", box=None, pad_edge=False)
    for heading in ("Price", "SKUs", "Views"):
        table.add_column(heading, justify="right")
    for product in products:
        price = shown_price(product.price, product.currency)
        counts = (str(len(product.skus) or ""), str(len(product.views)))
        cells = (product.id, product.name, product.category or "", price, *counts)
        table.add_row(*map(Text, map(printable, cells)))
    return table
