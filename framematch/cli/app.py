"""The command `framematch`: its subcommands, and how an error ends it (one line, exit code 1 or 2)."""

import sys
from importlib.metadata import version

import typer
from rich.console import Console
from rich.markup import escape

from framematch.cli import catalog, deadletter, model, stack, topics
from framematch.cli.cameras import cameras
from framematch.cli.consume import consume
from framematch.cli.doctor import doctor
from framematch.cli.edge import EdgeCommand, edge
from framematch.cli.watch import watch
from framematch.core.errors import FramematchError
from framematch.core.redact import redact_url

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Cameras in, product matches out.",
    epilog="Start with `framematch doctor`: it says what is reachable, what is wrong and what to do.",
)
app.command(cls=EdgeCommand)(edge)
app.command()(consume)
app.command()(watch)
app.command()(cameras)
app.add_typer(deadletter.app, name="deadletter")
app.add_typer(catalog.app, name="catalog")
app.add_typer(model.app, name="model")
app.add_typer(topics.app, name="topics")
app.add_typer(stack.app, name="stack")
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
    """Run the command line; an error of ours is one line on stderr."""
    try:
        app(prog_name="framematch")
    except FramematchError as error:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        hint = f" [dim]{escape(redact_url(error.hint))}[/dim]" if error.hint else ""
        console.print(f"[bold red]framematch:[/] {escape(redact_url(error.message))}.{hint}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
