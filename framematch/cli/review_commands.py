"""`framematch calibration review`: a person says what kept pictures show."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import new_console, print_text
from framematch.cli.database import open_database
from framematch.cli.text import counted
from framematch.core.errors import UsageError
from framematch.core.events import DecisionKind
from framematch.core.settings import Settings

if TYPE_CHECKING:
    from framematch.review.labels import Labeller, Outcome
    from framematch.review.picture import ReviewPicture
    from framematch.review.store import ReviewStore, Wanted

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Say what kept pictures show.")

_IDS = typer.Argument(metavar="ID...", help="Ids of pictures, or their starts, as `list` shows them.")


@app.command(name="list", epilog="Example: `framematch calibration review list --decision unknown --sheet sheet.jpg`")
def list_pictures(
    *,
    decision: Annotated[
        str | None, typer.Option(help=f"Only these: {', '.join(get_args(DecisionKind))}.", show_default=False)
    ] = None,
    camera: Annotated[str | None, typer.Option(metavar="ID", help="Only of this camera.", show_default=False)] = None,
    labelled: Annotated[bool, typer.Option("--labelled", help="Those with a label instead.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of pictures.")] = 30,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE.jpg", dir_okay=False, help="Write them on one sheet, in this order.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """List the newest pictures that wait for a label."""
    if decision is not None and decision not in get_args(DecisionKind):
        raise UsageError(f"there is no decision {decision!r}", hint=f"Use {', '.join(get_args(DecisionKind))}")
    from framematch.review.store import Wanted

    settings = prepare_command("calibration", config)
    wanted = Wanted(limit, camera, cast("DecisionKind | None", decision), labelled)
    found = asyncio.run(_list(settings, wanted, sheet))
    if as_json:
        from framematch.cli.review_table import picture_json

        for picture in found:
            new_console(soft_wrap=True).out_json(json.dumps(picture_json(picture)))
    elif not found:
        print_text("There is no such picture. 'framematch calibration collect' keeps them")
    else:
        from framematch.cli.review_table import picture_table

        new_console(soft_wrap=True).print(picture_table(found))


@app.command(epilog="Example: `framematch calibration review show 3f9a1c07 --out picture.jpg`")
def show(
    picture_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a picture, or its start.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.jpg", dir_okay=False, help="Write it there.")],
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Write a picture to a file, and print what was decided."""
    from framematch.cli.review_table import picture_json

    picture = asyncio.run(_show(prepare_command("calibration", config), picture_id, out))
    new_console(soft_wrap=True).out_json(json.dumps(picture_json(picture)))


@app.command(epilog="Example: `framematch calibration review confirm 3f9a1c07 5be21d90`")
def confirm(
    ids: Annotated[list[str], _IDS],
    *,
    product: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The product that they show.", show_default="the most similar of each"),
    ] = None,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """They show the product that they are most similar to, or the one that is named."""
    _label(config, ids, lambda labeller, picture: labeller.confirm(picture, product))


@app.command(epilog="Example: `framematch calibration review stranger 3f9a1c07`")
def stranger(ids: Annotated[list[str], _IDS], config: Path | None = CONFIG_OPTION) -> None:
    """They show a product that the catalogue does not have."""
    from framematch.review.picture import GivenLabel

    _label(config, ids, lambda labeller, picture: labeller.label(picture, GivenLabel("stranger")))


@app.command(epilog="Example: `framematch calibration review nothing 3f9a1c07`")
def nothing(ids: Annotated[list[str], _IDS], config: Path | None = CONFIG_OPTION) -> None:
    """They show no product: an empty belt, a hand."""
    from framematch.review.picture import GivenLabel

    _label(config, ids, lambda labeller, picture: labeller.label(picture, GivenLabel("nothing")))


@app.command(epilog="Example: `framematch calibration review discard 3f9a1c07`")
def discard(ids: Annotated[list[str], _IDS], config: Path | None = CONFIG_OPTION) -> None:
    """Delete them, and take their labels back. For pictures that nobody can tell, and those that nobody may see."""
    _label(config, ids, lambda labeller, picture: labeller.discard(picture))


@dataclass(frozen=True)
class _Desk:
    store: "ReviewStore"
    labeller: "Labeller"


@asynccontextmanager
async def _desk(settings: Settings) -> AsyncIterator[_Desk]:
    from framematch.catalog.products import ProductStore
    from framematch.catalog.samples.store import SampleStore
    from framematch.review.labels import Labeller
    from framematch.review.store import ReviewStore

    async with open_database(settings) as database:
        store = ReviewStore(database)
        samples = SampleStore(database, settings.calibration.max_pictures)
        yield _Desk(store, Labeller(store, samples, ProductStore(database)))


async def _list(settings: Settings, wanted: "Wanted", sheet: Path | None) -> "list[ReviewPicture]":
    async with _desk(settings) as desk:
        found = await desk.store.newest(wanted)
        if sheet is not None and found:
            from framematch.cli.review_table import cell_lines
            from framematch.review.sheet import Cell, contact_sheet

            cells = [Cell(await desk.store.jpeg(one.id), cell_lines(one)) for one in found]
            _write(sheet, await asyncio.to_thread(contact_sheet, cells))
    return found


async def _show(settings: Settings, text: str, out: Path) -> "ReviewPicture":
    async with _desk(settings) as desk:
        [picture] = await _pictures(desk.store, [text])
        data = await desk.store.jpeg(picture.id)
    if data is None:
        raise UsageError(f"the picture {picture.id} is gone", hint="Pictures are deleted after review.days")
    _write(out, data)
    return picture


def _label(
    config: Path | None, ids: Sequence[str], step: "Callable[[Labeller, ReviewPicture], Awaitable[Outcome]]"
) -> None:
    """Take the step for each picture; all ids are known before the first label is written."""

    async def run() -> "list[Outcome]":
        async with _desk(prepare_command("calibration", config)) as desk:
            return [await step(desk.labeller, picture) for picture in await _pictures(desk.store, ids)]

    outcomes = asyncio.run(run())
    numbers = {outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)}
    print_text(", ".join(f"{counted(number, 'picture')} {outcome}" for outcome, number in numbers.items()))


async def _pictures(store: "ReviewStore", texts: Sequence[str]) -> "list[ReviewPicture]":
    ids = list(dict.fromkeys([await store.resolve(text) for text in texts]))
    found = await store.of_ids(ids)
    if missing := [one for one in ids if one not in found]:
        raise UsageError(f"the picture {missing[0]} cannot be read", hint="See the log; discard is not possible either")
    return [found[one] for one in ids]


def _write(path: Path, data: bytes) -> None:
    """Write pictures for their owner alone."""
    from framematch.core.private_files import write_private

    try:
        write_private(path, data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint="Check the path") from None
