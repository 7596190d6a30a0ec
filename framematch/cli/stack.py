"""`framematch stack`: real servers on this machine, in the background: Kafka, Triton, MongoDB and RTSP."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from framematch.cli.console import new_console, print_text
from framematch.core.errors import UsageError
from framematch.core.local_stack import LocalStack

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Run real servers on this machine, without Docker: Kafka, Triton, a MongoDB-compatible server and RTSP.",
    epilog="All other commands find the running servers by themselves. Example: `framematch stack up`",
)


@app.command(epilog="Example: `framematch stack up --only kafka,triton --model-repository model_repository`")
def up(
    model_repository: Annotated[
        Path | None, typer.Option(help="Triton's model repository. [default: the checkout's]", file_okay=False)
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Names separated by commas: kafka, triton, mongodb, mediamtx. [default: all]")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder for data and logs. [default: below FRAMEMATCH_STATE_DIR]", file_okay=False),
    ] = None,
) -> None:
    """Start the servers in the background and wait until they answer.

    The first start downloads and builds them into the cache, which takes a few minutes; later ones take seconds. If
    they are running already, only their addresses are shown.
    """
    console = new_console(soft_wrap=True)
    started = _control().up(
        names=None if only is None else [name.strip() for name in only.split(",")],
        model_repository=model_repository,
        data_dir=data_dir,
        report=lambda line: console.print(line, style="dim"),
    )
    if started.already:
        console.print("The local servers are running already:")
    _show_addresses(console, started.local)


@app.command(epilog="Example: `framematch stack down`")
def down() -> None:
    """Stop the servers and wait until they have ended; their data are kept."""
    stopped = _control().down()
    print_text("The local servers are stopped." if stopped else "No local servers are running.")


@app.command(epilog="Example: `framematch stack status && framematch edge --camera till-1=0`")
def status() -> None:
    """Check that each server answers; exit code 1 when one does not, or none is running."""
    servers = _control().status()
    if not servers:
        print_text("No local servers are running. Start them with: framematch stack up")
        raise typer.Exit(1)
    console = new_console(soft_wrap=True)
    for server in servers:
        state = ("answers", "green") if server.error is None else (server.error, "red")
        console.print(Text.assemble(f"  {server.name:<15} {server.address:<30} ", state))
    if any(server.error is not None for server in servers):
        raise typer.Exit(1)


def _control() -> ModuleType:
    """`stack.control`, which is in the source checkout but not in the wheel: a UsageError there."""
    try:
        return importlib.import_module("stack.control")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "stack":
            raise
        raise UsageError(
            "local servers come with the source checkout, and this is an installed package",
            hint="For servers of your own, set KAFKA_BOOTSTRAP_SERVERS, MONGODB_URI and TRITON_URL",
        ) from None


def _show_addresses(console: Console, local: LocalStack) -> None:
    metrics = {"triton metrics": local.triton_metrics_url} if local.triton_metrics_url else {}
    for name, address in (local.addresses() | metrics | {"logs": f"{local.log_dir}/*/*.log"}).items():
        console.print(f"  {name:<15} {address}")
    console.print("Stop them with: framematch stack down")
