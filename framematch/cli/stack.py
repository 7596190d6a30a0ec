"""`framematch stack`: real servers on this machine, in the background: Kafka, Triton, MongoDB and RTSP."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from framematch.cli.console import new_console, print_text
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
        Path, typer.Option(help="Triton's model repository; the one that `model build` writes to.", file_okay=False)
    ] = Path("model_repository"),
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
    they are running already, those that do not answer are started again, at the same addresses.
    """
    console = new_console(soft_wrap=True)
    from framematch.stack import control

    started = control.up(
        names=None if only is None else [name.strip() for name in only.split(",")],
        model_repository=model_repository,
        data_dir=data_dir,
        report=lambda line: console.print(line, style="dim"),
    )
    if started.restarted:
        console.print(f"The local servers are running; started again: {', '.join(started.restarted)}")
    elif started.already:
        console.print("The local servers are running already:")
    _show_addresses(console, started.local)


@app.command(epilog="Example: `framematch stack down`")
def down() -> None:
    """Stop the servers and wait until they have ended; their data are kept."""
    from framematch.stack import control

    stopped = control.down()
    print_text("The local servers are stopped." if stopped else "No local servers are running.")


@app.command(epilog="Example: `framematch stack status && framematch edge --camera till-1=0`")
def status() -> None:
    """Check that each server answers; exit code 1 when one does not, or none is running."""
    from framematch.stack import control

    servers = control.status()
    if not servers:
        print_text("No local servers are running. Start them with: framematch stack up")
        raise typer.Exit(1)
    console = new_console(soft_wrap=True)
    for server in servers:
        state = ("answers", "green") if server.error is None else (server.error, "red")
        console.print(Text.assemble(f"  {server.name:<15} {server.address:<30} ", state))
    if any(server.error is not None for server in servers):
        console.print("Start what does not answer again with: framematch stack up")
        raise typer.Exit(1)


def _show_addresses(console: Console, local: LocalStack) -> None:
    more = {"triton metrics": local.triton_metrics_url, "models": local.model_repository}
    shown = {name: value for name, value in more.items() if value}
    for name, address in (local.addresses() | shown | {"logs": f"{local.log_dir}/*/*.log"}).items():
        console.print(f"  {name:<15} {address}")
    console.print("Stop them with: framematch stack down")
