"""`framematch cameras`: the state of all cameras, as a live table or as JSON."""

from pathlib import Path

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command


def cameras(
    config: Path | None = CONFIG_OPTION,
    camera: str | None = typer.Option(None, help="Show only this camera."),
    as_json: bool = typer.Option(False, "--json", help="One JSON status per line: the latest ones, then new ones."),
    once: bool = typer.Option(False, help="Print the latest statuses and exit, as without a terminal."),
) -> None:
    """Show the state of every camera, from the status topic, until Ctrl-C.

    A camera is offline (its source is not open), stale (no status for three intervals), degraded (frames were dropped,
    are spooled on disk, or lag) or online.

    Examples: `framematch cameras`, `framematch cameras --once --json | jq 'select(.state != "online") | .camera'`
    """
    from framematch.cli.camera_statuses import show_cameras

    show_cameras(prepare_command("cameras", config), camera, as_json=as_json, once=once)
