"""`framematch stack`: the real servers on this machine, in the background: Kafka, Triton, MongoDB and RTSP."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from framematch.core.errors import PrerequisiteError, UsageError
from framematch.core.local_stack import LocalStack

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Run the real servers on this machine, without Docker: Kafka, Triton, a MongoDB-compatible server and RTSP.",
    epilog="Every other command finds the running servers by itself. Example: `framematch stack up`",
)


@app.command(epilog="Example: `framematch stack up --only kafka,triton --model-repository model_repository`")
def up(
    model_repository: Annotated[
        Path | None,
        typer.Option(help="Folder of the models that Triton serves. [default: the checkout's]", file_okay=False),
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

    The first time fetches and builds them into the cache, which takes a few minutes; after that it takes seconds.
    Where they run already, only their addresses are shown.
    """
    control = _control()
    chosen = {
        "names": [name.strip() for name in only.split(",")] if only is not None else None,
        "model_repository": model_repository,
        "data_dir": data_dir,
    }
    console = Console()
    started = control.up(
        **{name: value for name, value in chosen.items() if value is not None},
        report=lambda line: console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True),
    )
    if started.already:
        console.print("The local servers run already:")
    _show_addresses(console, started.local)


@app.command(epilog="Example: `framematch stack down`")
def down() -> None:
    """Stop the servers and wait until they are gone; their data stay."""
    stopped = _control().down()
    Console().print("The local servers are stopped." if stopped else "No local servers are running.")


@app.command(epilog="Example: `framematch stack status && framematch edge --camera till-1=0`")
def status() -> None:
    """Ask each server whether it answers; exit code 1 when one does not, or none runs."""
    answers = _control().status()
    if not answers:
        Console().print("No local servers are running. Start them with: framematch stack up")
        raise typer.Exit(1)
    console = Console()
    for answer in answers:
        said = "[green]answers[/]" if answer.error is None else f"[red]{escape(answer.error)}[/]"
        _row(console, answer.name, f"{answer.address:<30} {said}")
    if any(answer.error is not None for answer in answers):
        raise typer.Exit(1)


def _control() -> ModuleType:
    """`stack.control`, which comes with the source checkout and not with the wheel.

    Raises:
        UsageError: this is an installed wheel.
        PrerequisiteError: a library that it speaks to the servers with is missing.
    """
    try:
        return importlib.import_module("stack.control")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "stack":
            raise UsageError(
                "local servers come with the source checkout, and this is an installed package",
                hint="For servers of your own, set KAFKA_BOOTSTRAP_SERVERS, MONGODB_URI and TRITON_URL",
            ) from None
        raise PrerequisiteError(
            f"the local servers need the Python package {missing}", hint="Run: pip install 'framematch[consumer]'"
        ) from None


def _show_addresses(console: Console, local: LocalStack) -> None:
    rows = {
        "kafka": local.kafka_bootstrap_servers,
        "triton": local.triton_url,
        "triton metrics": local.triton_metrics_url,
        "mongodb": local.mongodb_uri,
        "mediamtx": local.rtsp_url,
        "logs": f"{local.log_dir}/*/*.log",
    }
    for name, address in rows.items():
        if address is not None:
            _row(console, name, address)
    console.print("Stop them with: framematch stack down")


def _row(console: Console, name: str, text: str) -> None:
    """One line that is never wrapped, so that an address can be copied."""
    console.print(f"  {name:<15} {text}", soft_wrap=True, highlight=False)
