"""`framematch catalog add` and `delete`: change single products, which consumers search within seconds."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import print_text
from framematch.cli.database import open_database
from framematch.cli.snapshots.serving_wait import served_by_all, wait_until_searched
from framematch.core.errors import CatalogError, UsageError
from framematch.core.paths import state_dir
from framematch.core.settings import Settings

if TYPE_CHECKING:
    from framematch.catalog.changes.product_changes import PublishedChange
    from framematch.catalog.mongo import Database
    from framematch.catalog.products import Product, ProductStore

GTIN_DIGITS = 14

app = typer.Typer()

Waiting = Annotated[
    float | None,
    typer.Option("--wait", metavar="S", min=0, help="Wait up to S seconds until all running processes search it."),
]


@app.command(
    epilog="Example: `framematch catalog add 4711 --name Kiwi --image kiwi.jpg --category Fruit --price 0.45 --wait 10`"
)
def add(
    product_id: Annotated[str, typer.Argument(metavar="ID", help="A new id, or that of the product to replace.")],
    *,
    name: Annotated[str, typer.Option(help="Its name.")],
    image: Annotated[list[Path], typer.Option(metavar="FILE", help="A picture; give the option for each.")],
    category: Annotated[str | None, typer.Option(help="Its category.")] = None,
    price: Annotated[str | None, typer.Option(help="Its price, such as 12.90.")] = None,
    currency: Annotated[str | None, typer.Option(help="The price's currency, such as EUR.")] = None,
    sku: Annotated[str | None, typer.Option(help="The article's number, if it is not the id.")] = None,
    gtin: Annotated[str | None, typer.Option(help="The number in its bar code, of 8 to 14 digits.")] = None,
    description: Annotated[str | None, typer.Option(help="Its description.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Another column; give the option for each.")
    ] = None,
    wait: Waiting = None,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Add a product, or replace one as a whole. Running consumers search it within seconds, without a build.

    The next build takes it into its snapshot. Exit code 1 when it cannot be added, and with `--wait` also when the time
    is over.
    """
    settings = prepare_command("catalog", config)
    fields = {
        "id": product_id,
        "name": name,
        "category": category,
        "price": price,
        "currency": currency,
        "skus": _skus(product_id, sku, gtin),
        "description": description,
        "attributes": _attributes(attribute or []),
        # A name in another folder is no name of a picture folder, so all are absolute.
        "images": [str(_existing(path).absolute()) for path in image],
    }
    asyncio.run(_add(settings, fields, wait))


@app.command(epilog="Example: `framematch catalog delete 4711 4712 --wait 10`")
def delete(
    product_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The products to delete.")],
    wait: Waiting = None,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Delete products. Running consumers find them no more within seconds, without a build. Pictures are kept.

    Nothing is deleted when one of the ids is unknown.
    """
    settings = prepare_command("catalog", config)
    from framematch.catalog.importing.presets.cell_values import normal_id

    asyncio.run(_delete(settings, list(dict.fromkeys(map(normal_id, product_ids))), wait))


async def _add(settings: Settings, fields: dict[str, Any], wait_s: float | None) -> None:
    from framematch.catalog.changes.served_models import open_product_changes

    async with open_database(settings) as database, open_product_changes(settings, database) as changes:
        product = await _checked(fields, changes.store)
        change = await changes.put(product)
        _report(change, f"Product {product.id} is stored", "searchable")
        await _wait(database, change, wait_s)


async def _delete(settings: Settings, product_ids: list[str], wait_s: float | None) -> None:
    from framematch.catalog.changes.product_changes import is_searched
    from framematch.catalog.changes.served_models import open_product_changes
    from framematch.catalog.snapshots.storage import open_storage

    async with open_database(settings) as database, open_product_changes(settings, database) as changes:
        storage, cache_dir = open_storage(settings.snapshots.url, database), state_dir() / "snapshots"
        existing = await changes.store.existing(product_ids)
        for product_id in product_ids:
            # One whose deletion was interrupted is still searched.
            if product_id not in existing and not await is_searched(changes.store, storage, cache_dir, product_id):
                raise CatalogError(
                    f"there is no product {product_id!r}", hint="Nothing was deleted. See 'framematch catalog list'"
                )
        for product_id in product_ids:
            change = await changes.remove(product_id)
            _report(change, f"Product {product_id} is deleted", "not found any more")
        await _wait(database, change, wait_s)


async def _checked(fields: dict[str, Any], store: "ProductStore") -> "Product":
    """The product with these fields, whose images are stored."""
    from framematch.catalog.importing.one_product import check_product
    from framematch.catalog.importing.problems import RowProblem

    product = await check_product(fields, store)
    if isinstance(product, RowProblem):
        raise UsageError(f"product {fields['id']!r} cannot be added: {product.reason}", hint=product.kind.hint)
    return product


def _report(change: "PublishedChange", done: str, result: str) -> None:
    if change.number is None:
        print_text(f"{done}. No snapshot is active: run 'framematch catalog build'")
        return
    print_text(f"{done}: {result} with delta {change.number}")
    for one in change.left_out:
        print_text(f"Warning: snapshot {one.snapshot} cannot be served with it: {one.reason}")


async def _wait(database: "Database", change: "PublishedChange", wait_s: float | None) -> None:
    if wait_s is None or change.number is None:
        return
    processes = await wait_until_searched(database, change.number, wait_s)
    print_text(served_by_all(processes))


def _skus(product_id: str, sku: str | None, gtin: str | None) -> list[dict[str, str | None]] | None:
    """The one article that is the product; None when it has no number but the product's id."""
    if sku is None and gtin is None:
        return None
    return [{"id": sku or product_id, "gtin": None if gtin is None else gtin.strip().zfill(GTIN_DIGITS)}]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="Name each picture with --image")
    return path


def _attributes(given: list[str]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key.strip() or not equals:
            raise UsageError(f"the attribute {text!r} is not KEY=VALUE", hint="Write for instance --attribute size=XL")
        if key.strip() in attributes:
            raise UsageError(f"the attribute {key.strip()!r} is given twice", hint="Give each once")
        attributes[key.strip()] = value.strip()
    return attributes
