"""The command `framematch`: its subcommands, and how an error ends it (one line, exit code 1 or 2)."""

import sys
from importlib.metadata import version

import typer
from rich.text import Text

from framematch.cli import catalog, deadletter, model, stack, topics
from framematch.cli.cameras import cameras
from framematch.cli.console import new_console
from framematch.cli.consume import consume
from framematch.cli.doctor import doctor
from framematch.cli.edge import edge
from framematch.cli.errors import Commands, hint_of
from framematch.cli.watch import watch
from framematch.core.errors import FramematchError
from framematch.core.lifecycle import ungrouped_errors
from framematch.core.redact import redact_url

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Cameras in, product matches out.",
    epilog="Start with `framematch doctor`: it says what is reachable, what is wrong and what to do.",
)
app.command()(edge)
app.command()(consume)
app.command()(watch)
app.command()(cameras)
app.add_typer(deadletter.app, name="deadletter", cls=Commands)
app.add_typer(catalog.app, name="catalog", cls=Commands)
app.add_typer(model.app, name="model", cls=Commands)
app.add_typer(topics.app, name="topics", cls=Commands)
app.add_typer(stack.app, name="stack", cls=Commands)
app.command()(doctor)


def _print_version(asked: bool) -> None:
    if asked:
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
    """Run the command line; one of our errors is printed as one line on stderr."""
    try:
        with ungrouped_errors():
            app(prog_name="framematch")
    except FramematchError as error:
        line = Text.assemble(("framematch: ", "bold red"), f"{redact_url(error.message)}.")
        if hint := hint_of(error):
            line.append(f" {redact_url(hint)}", style="dim")
        new_console(stderr=True, soft_wrap=True).print(line)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
