"""The command `framematch`: its subcommands, which are imported when they run."""

from typing import Any

import typer

from framematch.cli.errors import Commands
from framematch.cli.exits import exit_after
from framematch.cli.lazy import LazyCommand

_COMMANDS = {
    "edge": "Publish the frames of cameras to Kafka.",
    "consume": "Match frames against the product catalogue.",
    "api": "Serve the REST API.",
    "archive": "Store events and logs in MongoDB.",
    "api-key": "Create, list and revoke keys of the REST API.",
    "watch": "Show match events or sightings live.",
    "cameras": "Show the state of every camera.",
    "deadletter": "List, show and replay unusable records.",
    "catalog": "Import products, and build the index.",
    "calibration": "Keep decided pictures, and label them.",
    "search": "Search the catalogue by a picture or a text.",
    "replay": "Decide frames again with another snapshot.",
    "model": "Build, check, list and prune the models that Triton serves.",
    "topics": "Plan, list and create Kafka topics.",
    "stack": "Run real servers on this machine, without Docker.",
    "doctor": "Check everything, and say what to do.",
}


class RootCommands(Commands):
    """The subcommands of `framematch`."""

    def __init__(self, **settings: Any) -> None:  # Any: Typer's own
        super().__init__(**settings)
        self.commands = {name: LazyCommand(name, about) for name, about in _COMMANDS.items()}


app = typer.Typer(
    cls=RootCommands,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain: Rich takes longer to import than all else that the help needs
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Cameras in, product matches out.",
    epilog="Start with `framematch doctor`: it says what is reachable, what is wrong and what to do.",
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"framematch {version('framematch')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Point a camera at it, subscribe to a Kafka topic, and get product matches."""


def main() -> None:
    """Run the command line, and exit."""
    exit_after(lambda: app(prog_name="framematch"))
