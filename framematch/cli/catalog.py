"""`framematch catalog`: imports products, lists them, and builds and changes the snapshots that consumers search."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from framematch.cli import product_changes
from framematch.cli.amounts import shown_price
from framematch.cli.catalog_build import build
from framematch.cli.catalog_calibrate import calibrate
from framematch.cli.catalog_import import import_file
from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import new_console
from framematch.cli.database import open_database
from framematch.cli.snapshots import changes as snapshot_changes
from framematch.cli.snapshots import listing as snapshots
from framematch.cli.snapshots import prune as snapshot_prune
from framematch.cli.snapshots import shadow
from framematch.core import exact_json

if TYPE_CHECKING:
    from framematch.catalog.products import Product

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="The products that cameras may see.")
app.command(name="import", epilog="Example: `framematch catalog import products.csv --images photos/`")(import_file)
app.command(epilog="Example: `framematch catalog build --preprocessing exact`")(build)
app.command(epilog="Example: `framematch catalog calibrate --rate 0.05 --frames held-out/ --nothing empty/`")(calibrate)
app.add_typer(product_changes.app)
app.add_typer(snapshots.app)
app.add_typer(snapshot_changes.app)
app.add_typer(snapshot_prune.app)
app.add_typer(shadow.app, name="shadow", cls=shadow.ShadowCommands)


@app.command(name="products", epilog="Example: `framematch catalog products --category Apple --json | jq -r .name`")
def list_products(
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of products.")] = 20,
    category: Annotated[str | None, typer.Option(help="Only products of this category.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, with all fields.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """List products in the order of their ids."""
    settings = prepare_command("catalog", config)
    from framematch.catalog.products import ProductStore

    async def run() -> "tuple[list[Product], int]":
        async with open_database(settings) as database:
            store = ProductStore(database)
            products = [product async for product in store.iterate(category=category, limit=limit)]
            return products, await store.count(category=category)

    products, count = asyncio.run(run())
    console = new_console(soft_wrap=True)
    if as_json:
        for product in products:
            console.out_json(exact_json.encode(product))
        return
    table = Table("Id", "Name", "Category", "Price", "Views", box=None, pad_edge=False)
    for product in products:
        price = shown_price(product.price, product.currency)
        table.add_row(product.id, product.name, product.category or "", price, str(len(product.views)))
    console.print(table)
    console.print(f"{len(products)} of {count} products", style="dim")
