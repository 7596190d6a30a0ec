"""`framematch catalog`: imports products into MongoDB, lists them, and builds the index that consumers search."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from framematch.cli.common import CONFIG_OPTION, prepare_command, progress_bar
from framematch.cli.console import new_console, print_text
from framematch.core.errors import CatalogError
from framematch.core.paths import state_dir
from framematch.core.settings import Settings
from framematch.core.settings_sources import require

if TYPE_CHECKING:
    from framematch.catalog.importer import ImportReport
    from framematch.catalog.mongo import Database
    from framematch.catalog.products import Product
    from framematch.catalog.snapshot import Snapshot

SHOWN_PROBLEMS = 20  # enough to see what is wrong with a file

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="The products that cameras may see.")


@app.command(name="import", epilog="Example: `framematch catalog import products.csv --images photos/`")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV with a header, or JSON lines (one object on each line).")],
    images: Annotated[
        Path | None, typer.Option(help="Folder that image paths are relative to.", show_default="the file's own")
    ] = None,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Import products and their pictures; importing the same file again changes nothing.

    Columns: `id`, `name`, `image` (several paths separated by `;`, or a list `images` in JSON), and optionally
    `category`, `price`, `description`. Every other column is stored as an attribute and is part of the match events.

    An invalid row is skipped and listed with its line and the reason. Exit code 0 when at least one row was imported,
    1 when none was, 2 when the file cannot be read.
    """
    settings = prepare_command("catalog", config)
    from framematch.catalog.importer import import_products
    from framematch.catalog.products import ProductStore

    async def run() -> "ImportReport":
        async with _database(settings) as database:
            with progress_bar("Importing", "lines") as show:
                return await import_products(file, images or file.parent, ProductStore(database), show)

    report = asyncio.run(run())
    console = new_console(soft_wrap=True)
    for problem in report.problems[:SHOWN_PROBLEMS]:
        console.print(Text.assemble((f"line {problem.line}", "yellow"), f": {problem.reason}"))
    if len(report.problems) > SHOWN_PROBLEMS:
        console.print(f"and {len(report.problems) - SHOWN_PROBLEMS} more rows", style="yellow")
    console.print(
        f"{report.added} added, {report.changed} changed, {report.unchanged} unchanged, "
        f"{len(report.problems)} rows left out"
    )
    if report.good == 0:
        raise CatalogError(f"no row of {file} could be imported", hint="The lines above say why")


@app.command(name="list", epilog="Example: `framematch catalog list --category Apple --json | jq -r .name`")
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
        async with _database(settings) as database:
            store = ProductStore(database)
            products = [product async for product in store.iterate(category=category, limit=limit)]
            return products, await store.count(category=category)

    products, count = asyncio.run(run())
    console = new_console(soft_wrap=True)
    if as_json:
        for product in products:
            console.out_json(msgspec.json.encode(product))
        return
    table = Table("Id", "Name", "Category", "Price", "Views", box=None, pad_edge=False)
    for product in products:
        price = "" if product.price is None else f"{product.price:.2f}"
        table.add_row(product.id, product.name, product.category or "", price, str(len(product.views)))
    console.print(table)
    console.print(f"{len(products)} of {count} products", style="dim")


@app.command(epilog="Example: `framematch catalog build --preprocessing exact`")
def build(
    preprocessing: Annotated[
        Literal["fast", "exact"],
        typer.Option(help="How pictures are scaled: `fast` takes less CPU, `exact` is what CLIP was trained with."),
    ] = "fast",
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Build an index snapshot from all products, store it in MongoDB and make it the active one.

    Every picture is embedded by the model that Triton serves. Consumers scale frames in the same way.
    """
    settings = prepare_command("catalog", config)
    from framematch.catalog.empty_frames import explain

    started_s = time.monotonic()
    snapshot = asyncio.run(_build(settings, preprocessing))
    manifest, thresholds = snapshot.manifest, snapshot.manifest.thresholds
    print_text(f"Snapshot {manifest.id} is active")
    print_text(f"  rows        {manifest.rows} views of {manifest.products} products, {manifest.dimension} dimensions")
    print_text(f"  model       {manifest.model_name} {manifest.model_digest[:12]}, {preprocessing} preprocessing")
    print_text(f"  thresholds  match {thresholds.match:.3f}, margin {thresholds.margin:.3f}: {thresholds.explain()}")
    print_text(f"  took        {time.monotonic() - started_s:.1f} s")
    if warning := explain(manifest.empty_frames):
        print_text(f"Warning: {warning}")


async def _build(settings: Settings, preprocessing: Literal["fast", "exact"]) -> "Snapshot":
    from framematch.catalog.build import build_snapshot
    from framematch.catalog.products import ProductStore
    from framematch.catalog.snapshot_store import activate_snapshot, load_snapshot, save_snapshot
    from framematch.vision.encoder import ImageEncoder
    from framematch.vision.preprocess import Preprocessor

    url = require(settings.triton.url, "triton.url")
    async with (
        _database(settings) as database,
        await ImageEncoder.connect(url, timeout_s=settings.triton.timeout_s, key=settings.triton.key) as encoder,
    ):
        preprocessor = Preprocessor(encoder.manifest.preprocess, preprocessing)
        with progress_bar("Embedding", "views") as show:
            built = await build_snapshot(ProductStore(database), encoder, preprocessor, show)
        await save_snapshot(database, built)
        # Verified before it becomes active.
        snapshot = await load_snapshot(database, state_dir() / "snapshots", built.manifest.id)
        await activate_snapshot(database, snapshot.manifest.id)
    return snapshot


@asynccontextmanager
async def _database(settings: Settings) -> "AsyncIterator[Database]":
    from framematch.catalog.mongo import connect

    uri = require(settings.mongodb.uri, "mongodb.uri").get_secret_value()
    async with await connect(uri, settings.mongodb.timeout_s) as client:
        yield client[settings.mongodb.database]
