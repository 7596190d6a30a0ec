"""Runs a search, and prints what it found."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from framematch.catalog.products import ProductFilter, ProductStore
from framematch.catalog.snapshots.listing import find_snapshot
from framematch.cli.amounts import shown_price
from framematch.cli.console import new_console
from framematch.cli.database import open_database
from framematch.cli.text import counted
from framematch.core import exact_json
from framematch.core.errors import ModelError, PictureError, UsageError
from framematch.core.events import similarity
from framematch.core.paths import state_dir
from framematch.core.printable import printable
from framematch.core.settings import Settings
from framematch.core.settings_sources import require
from framematch.matching.enrich import MetadataCache
from framematch.matching.gate import PictureGate
from framematch.matching.match_pictures import DirectEngine
from framematch.matching.search import (
    Catalogue,
    FoundProduct,
    SearchResult,
    TextSearch,
    checked_text,
    search_by_picture,
    search_by_text,
)
from framematch.matching.serving.opener import open_served
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.vision.encoder import TextEncoder

_WITHOUT_MODEL: Final[dict[str | None, str]] = {
    "no_content": "the picture shows nothing",
    "quality": "the picture is too blurred, dark or small",
}
_NOT_NEAR = "Nothing is near; these are the least far"


@dataclass(frozen=True)
class SearchOptions:
    """The arguments of the command; one of `image` and `text` is given."""

    image: Path | None
    text: str | None
    products: ProductFilter
    top_k: int
    snapshot: str | None
    as_json: bool


def run_search(settings: Settings, options: SearchOptions) -> None:
    """Search, and print the result.

    Raises:
        UsageError: the picture's file cannot be read or shows no picture, or the text is empty.
        FramematchError: a server is unavailable, or the snapshot or model cannot be used.
    """
    picture = None if options.image is None else _read(options.image)
    if options.text is not None:
        checked_text(options.text)  # before the servers are asked
    result = asyncio.run(_search(settings, options, picture))
    if options.as_json:
        new_console().out_json(_json(result))
    else:
        _print(result)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="Give the path of a picture") from None


async def _search(settings: Settings, options: SearchOptions, picture: bytes | None) -> SearchResult:
    async with AsyncExitStack() as resources:
        database = await resources.enter_async_context(open_database(settings))
        snapshot_id = None if options.snapshot is None else await find_snapshot(database, options.snapshot)
        served = await open_served(database, snapshot_id, settings=settings, cache_dir=state_dir() / "snapshots")
        await resources.enter_async_context(served.encoder)
        thread = resources.enter_context(ThreadPoolExecutor(1, "search"))
        store = ProductStore(database)
        catalogue = Catalogue(served, store, MetadataCache(store), DirectEngine(thread))
        top_k, products = options.top_k, options.products
        if picture is None:
            model = await resources.enter_async_context(await _text_encoder(settings, served))
            return await search_by_text(
                catalogue, TextSearch(model), options.text or "", top_k=top_k, products=products
            )
        try:
            return await search_by_picture(
                catalogue, picture, top_k=top_k, products=products, gate=PictureGate.of(settings.matching)
            )
        except PictureError as error:
            raise UsageError(f"{options.image} {error.message}", hint="Give a picture, such as a JPEG or PNG") from None


async def _text_encoder(settings: Settings, served: ServedSnapshot) -> TextEncoder:
    """The text tower of the snapshot's model.

    Raises:
        ModelError: it has none, or Triton does not serve it.
        TritonUnavailableError: Triton does not answer.
    """
    if served.encoder.manifest.context_length is None:
        raise ModelError(
            f"the model {served.model.name} of snapshot {served.manifest.id} has no text tower",
            hint="Search by --image, or build a model with a text tower and an index with it",
        )
    url, timeout_s = require(settings.triton.url, "triton.url"), settings.triton.timeout_s
    return await TextEncoder.connect(
        url, served.model.digest, timeout_s=timeout_s, request_timeout_s=timeout_s, key=settings.triton.key
    )


def _json(result: SearchResult) -> bytes:
    return exact_json.encode(
        {
            "near": result.near,
            "decision": result.decision,
            "reason": result.reason,
            "quality": result.quality,
            "z_score": None if result.z_score is None else round(result.z_score, 3),
            "products_searched": result.products_searched,
            "snapshot": result.snapshot,
            "delta": result.delta,
            "products": [
                {
                    "id": found.product.id,
                    "name": found.product.name,
                    "category": found.product.category,
                    "price": found.product.price,
                    "currency": found.product.currency,
                    "score": similarity(found.score),
                }
                for found in result.products
            ],
        }
    )


def _print(result: SearchResult) -> None:
    console = new_console(soft_wrap=True)
    if result.products:
        console.print(_table(result.products))
    console.print(verdict(result))
    console.print(f"snapshot {result.snapshot}, delta {result.delta}", style="dim")


def _table(products: tuple[FoundProduct, ...]) -> Table:
    table = Table("Id", "Name", "Category", box=None, pad_edge=False)
    table.add_column("Price", justify="right")
    table.add_column("Score", justify="right")
    for found in products:
        product = found.product
        price = shown_price(product.price, product.currency)
        cells = (product.id, product.name, product.category or "", price, f"{found.score:.3f}")
        table.add_row(*map(Text, map(printable, cells)))
    return table


def verdict(result: SearchResult) -> str:
    """What the result says, in one line."""
    if not result.products:
        return f"Nothing is near: {_WITHOUT_MODEL.get(result.reason, 'no product fits the filters')}"
    among = "" if result.products_searched is None else f", among {counted(result.products_searched, 'product')}"
    if result.z_score is not None:
        said = "Above what texts about other things reach" if result.near else _NOT_NEAR
        return f"{said} (z-score {result.z_score:.1f}{among})"
    reason = f": {result.reason.replace('_', ' ')}" if result.reason else ""
    decided = f"{result.decision}{reason}{among}"
    return decided.capitalize() if result.near else f"{_NOT_NEAR} ({decided})"
