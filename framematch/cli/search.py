"""`framematch search`: finds products by a picture or by a text."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.core.amounts import to_amount
from framematch.core.errors import UsageError


def search(
    *,
    image: Annotated[
        Path | None, typer.Option("--image", "-i", metavar="FILE", help="Products that look like this picture.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", "-t", help="Products whose pictures fit this text.")] = None,
    category: Annotated[str | None, typer.Option(help="Only products of this category.")] = None,
    price_min: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="Only products with this price or a higher one.")
    ] = None,
    price_max: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="Only products with this price or a lower one.")
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Only products whose attribute has this value; may be repeated."),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, max=100, help="Maximum number of products.")] = 5,
    snapshot: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Id, the start of one, or `previous`, `shadow`.", show_default="the active one"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Search the catalogue by a picture or by a text, and say when nothing in it is near.

    A picture is decided as a frame is: match, ambiguous or unknown, by the snapshot's thresholds. A text needs a model
    with a text tower; its similarities are on another scale, so it is near when its best product stands out against
    texts about other things (z-score of at least 1). With filters, exactly the products that fit are searched. Exit
    code 0, also when nothing is near.

    Examples: `framematch search --image photo.jpg`, `framematch search --text "green apple" --price-max 2`
    """
    settings = prepare_command("search", config)
    if (image is None) == (text is None):
        raise UsageError("it is not clear what to search for", hint="Give either --image FILE or --text TEXT")
    from framematch.catalog.products import ProductFilter
    from framematch.cli.search_run import SearchOptions, run_search

    wanted = ProductFilter(category, *_prices(price_min, price_max), _attributes(attribute or []))
    run_search(settings, SearchOptions(image, text, wanted, top_k, snapshot, as_json))


def _attributes(given: list[str]) -> tuple[tuple[str, str], ...]:
    found = []
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"--attribute {text!r} is not NAME=VALUE", hint="Write --attribute brand=Arla")
        found.append((name, value))
    return tuple(found)


def _prices(price_min: str | None, price_max: str | None) -> tuple[Decimal | None, Decimal | None]:
    least, most = _price("--price-min", price_min), _price("--price-max", price_max)
    if least is not None and most is not None and least > most:
        raise UsageError(f"--price-min {price_min} is more than --price-max {price_max}", hint="Exchange them")
    return least, most


def _price(option: str, text: str | None) -> Decimal | None:
    amount = None if text is None else to_amount(text)
    if text is not None and amount is None:
        raise UsageError(f"{option} {text} is no price", hint="Give an amount such as 12.90")
    return amount
