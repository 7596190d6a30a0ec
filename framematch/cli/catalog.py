"""`framematch catalog`: put products into MongoDB, look at them, and build the index that consumers search."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from framematch.cli.common import CONFIG_OPTION, needs, prepare_command, progress_bar
from framematch.core.errors import CatalogError
from framematch.core.paths import state_dir
from framematch.core.settings import Settings
from framematch.core.settings_sources import require

if TYPE_CHECKING:
    from framematch.catalog.importer import ImportReport
    from framematch.catalog.mongo import Database
    from framematch.catalog.products import Product
    from framematch.catalog.snapshot import Snapshot

# Enough to see what kind of thing is wrong with a file.
SHOWN_PROBLEMS = 20
_EXTRAS = "consumer,cpu"

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="The products that cameras may see.")
out = Console(highlight=False, soft_wrap=True)


@app.callback()
def _group() -> None:
    """Import products, list them, and build the index that consumers search."""


@app.command(name="import", epilog="Example: `framematch catalog import products.csv --images photos/`")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV with a header, or JSON lines (one object on each line).")],
    images: Annotated[
        Path | None, typer.Option(help="Folder that image paths start from.", show_default="the file's own folder")
    ] = None,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Import products and their pictures; importing the same file again changes nothing.

    Columns: `id`, `name`, `image` (several paths apart by `;`, or a list `images` in JSON), and if you like `category`,
    `price`, `description`. Any further column is kept as an attribute and comes with the match events.

    A row that cannot be used is left out and listed with its line and the reason. Exit code 0 when any row was
    imported, 1 when none was, 2 when the file cannot be read.
    """
    settings = prepare_command("catalog", config)
    with needs(_EXTRAS):
        from framematch.catalog.importer import import_products
        from framematch.catalog.products import ProductStore

    async def run() -> "ImportReport":
        async with _database(settings) as database:
            with progress_bar("Importing", "lines") as show:
                return await import_products(file, images or file.parent, ProductStore(database), show)

    report = asyncio.run(run())
    for problem in report.problems[:SHOWN_PROBLEMS]:
        out.print(f"[yellow]line {problem.line}[/]: {escape(problem.reason)}")
    if len(report.problems) > SHOWN_PROBLEMS:
        out.print(f"[yellow]and {len(report.problems) - SHOWN_PROBLEMS} more rows[/]")
    out.print(
        f"{report.added} added, {report.changed} changed, {report.unchanged} unchanged, "
        f"{len(report.problems)} rows left out"
    )
    if report.good == 0:
        raise CatalogError(f"no row of {file} could be imported", hint="The lines above say why")


@app.command(name="list", epilog="Example: `framematch catalog list --category Apple --json | jq -r .name`")
def list_products(
    limit: Annotated[int, typer.Option(min=1, help="Products shown.")] = 20,
    category: Annotated[str | None, typer.Option(help="Products of this category alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with all there is.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """List products in the order of their ids."""
    settings = prepare_command("catalog", config)
    with needs(_EXTRAS):
        from framematch.catalog.products import ProductStore

    async def run() -> "tuple[list[Product], int]":
        async with _database(settings) as database:
            store = ProductStore(database)
            products = [product async for product in store.iterate(category=category, limit=limit)]
            return products, await store.count(category=category)

    products, count = asyncio.run(run())
    if as_json:
        for product in products:
            out.out(msgspec.json.encode(product).decode())
        return
    table = Table("Id", "Name", "Category", "Price", "Views", box=None, pad_edge=False)
    for product in products:
        price = "" if product.price is None else f"{product.price:.2f}"
        cells = (product.id, product.name, product.category or "", price, str(len(product.views)))
        table.add_row(*map(escape, cells))
    out.print(table)
    out.print(f"[dim]{len(products)} of {count} products[/]")


@app.command(epilog="Example: `framematch catalog build --preprocessing exact`")
def build(
    preprocessing: Annotated[
        Literal["fast", "exact"],
        typer.Option(help="How pictures are scaled: `fast` costs less a frame, `exact` is what CLIP was trained with."),
    ] = "fast",
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Build an index snapshot from all products, store it in MongoDB and make it the active one.

    Every picture goes through the model that Triton serves. Consumers scale frames in the same way as the snapshot.
    """
    settings = prepare_command("catalog", config)
    started_s = time.monotonic()
    snapshot = asyncio.run(_build(settings, preprocessing))
    manifest, thresholds = snapshot.manifest, snapshot.manifest.thresholds
    basis = f"{thresholds.method}, {thresholds.impostors} pairs"
    out.print(f"Snapshot {manifest.id} is active")
    out.print(f"  rows        {manifest.rows} views of {manifest.products} products, {manifest.dimension} dimensions")
    out.print(f"  model       {manifest.model_name} {manifest.model_digest[:12]}, {preprocessing} preprocessing")
    out.print(f"  thresholds  match {thresholds.match:.3f}, margin {thresholds.margin:.3f} ({basis})")
    out.print(f"  took        {time.monotonic() - started_s:.1f} s")


async def _build(settings: Settings, preprocessing: Literal["fast", "exact"]) -> "Snapshot":
    with needs(_EXTRAS):
        from framematch.catalog.build import build_snapshot
        from framematch.catalog.products import ProductStore
        from framematch.catalog.snapshot_store import activate_snapshot, load_snapshot, save_snapshot
        from framematch.vision.encoder import ImageEncoder
        from framematch.vision.preprocess import Preprocessor

    url = require(settings.triton.url, "triton.url")
    async with (
        _database(settings) as database,
        await ImageEncoder.connect(url, timeout_s=settings.triton.timeout_s) as encoder,
    ):
        preprocessor = Preprocessor(encoder.manifest.preprocess, preprocessing)
        with progress_bar("Embedding", "views") as show:
            built = await build_snapshot(ProductStore(database), encoder, preprocessor, show)
        await save_snapshot(database, built)
        # Read back before anybody serves it.
        snapshot = await load_snapshot(database, state_dir() / "snapshots", built.manifest.id)
        await activate_snapshot(database, snapshot.manifest.id)
    return snapshot


@asynccontextmanager
async def _database(settings: Settings) -> "AsyncIterator[Database]":
    from framematch.catalog.mongo import connect

    uri = require(settings.mongodb.uri, "mongodb.uri").get_secret_value()
    async with await connect(uri, settings.mongodb.timeout_s) as client:
        yield client[settings.mongodb.database]
