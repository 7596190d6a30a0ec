"""Shows what a dry run of `framematch edge` found."""

from collections.abc import Sequence

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.dry_run import ProbeResult

_SECONDS_A_DAY = 86_400
_FILE_COLUMNS = 200  # of text that goes into a file or a pipe, where nothing has to be folded


def print_results(results: Sequence[ProbeResult], *, as_json: bool) -> None:
    """Show what a dry run found, as a table with its sum, or as one line of JSON."""
    if as_json:
        typer.echo(msgspec.json.encode(results).decode())
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _FILE_COLUMNS)
    table = Table(box=None, pad_edge=False)
    table.add_column("Camera", no_wrap=True)
    for heading in ("Source", "State"):
        table.add_column(heading, overflow="fold")
    for heading in ("Picture", "Source fps", "Frames/s", "kB/s", "kB a JPEG", "Still", "Regions", "Clock"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        table.add_row(result.camera, escape(result.source), *_cells(result))
    console.print(table)
    bytes_per_s = sum(result.bytes_per_s or 0.0 for result in results)
    console.print(
        f"\nAll cameras: {bytes_per_s / 1e6:.2f} MB a second, {bytes_per_s * _SECONDS_A_DAY / 1e9:.1f} GB a day."
    )
    if silent := [result.camera for result in results if not result.has_frames]:
        console.print(f"[bold red]No frame came from {', '.join(silent)}.[/]")


def _cells(result: ProbeResult) -> tuple[str, ...]:
    def number(value: float | None, unit: float = 1.0) -> str:
        return "-" if value is None else f"{value / unit:.1f}"

    drops = ", ".join(f"{reason} {count}" for reason, count in result.drops.items() if count)
    state = escape(f"{result.state}; dropped: {drops}" if drops else result.state)
    return (
        state if result.has_frames else f"[bold red]{state}[/]",
        f"{result.width}x{result.height}" if result.width else "-",
        number(result.source_fps),
        number(result.frames_per_s),
        number(result.bytes_per_s, 1e3),
        number(result.jpeg_bytes, 1e3),
        str(result.still_frames),
        number(result.regions_per_frame),
        result.clock or "-",
    )
