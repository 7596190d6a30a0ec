"""`framematch watch`: shows match events or sightings as they are published."""

from pathlib import Path
from typing import Annotated

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.core.errors import UsageError


def watch(
    *,
    config: Path | None = CONFIG_OPTION,
    camera: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Show only this camera; repeat it for several.")
    ] = None,
    product: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Show only matches with this product.")
    ] = None,
    decision: Annotated[
        list[str] | None, typer.Option(metavar="match|ambiguous|unknown", help="Show only this decision.")
    ] = None,
    sightings: Annotated[bool, typer.Option("--sightings", help="Show sightings instead of match events.")] = False,
    lines: Annotated[bool, typer.Option("--lines", help="One line per event, as without a terminal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON event per line, as it is in the topic.")] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with the oldest event, not with new ones.")
    ] = False,
) -> None:
    """Show match events live, until Ctrl-C: the latest decision of each camera, and the latest events.

    Examples: `framematch watch`, `framematch watch --camera till-1 --json | jq .product.name`
    """
    from framematch.cli.watch_events import Wanted, show_matches, show_sightings

    kafka = prepare_command("watch", config).kafka
    if sightings and decision:
        raise UsageError("--decision is for match events, not for --sightings", hint="Leave one of them out")
    wanted = Wanted(camera or (), product or (), decision or (), "earliest" if from_beginning else "latest")
    show = show_sightings if sightings else show_matches
    show(kafka, wanted, lines=lines, as_json=as_json)
