"""Shows the results of a dry run of `framematch edge`."""

from collections.abc import Sequence

import msgspec
from rich.table import Table
from rich.text import Text

from edge.dry_run import ProbeResult
from framematch.cli.console import new_console
from framematch.core.units import BYTES_PER_GB, BYTES_PER_KB, BYTES_PER_MB

_SECONDS_PER_DAY = 86_400


def print_probe_results(results: Sequence[ProbeResult], *, as_json: bool) -> None:
    """Print the results as a table with its total, or as one line of JSON."""
    if as_json:
        new_console().out_json(msgspec.json.encode(results))
        return
    console = new_console()
    table = Table(box=None, pad_edge=False)
    table.add_column("Camera", no_wrap=True)
    for heading in ("Source", "State"):
        table.add_column(heading, overflow="fold")
    for heading in ("Picture", "Source fps", "Frames/s", "kB/s", "kB a JPEG", "Still", "Regions", "Clock", "Decoder"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        table.add_row(result.camera, result.source, *_cells(result))
    console.print(table)
    bytes_per_s = sum(result.bytes_per_s or 0.0 for result in results)
    gb_per_day = bytes_per_s * _SECONDS_PER_DAY / BYTES_PER_GB
    console.print(f"\nAll cameras: {bytes_per_s / BYTES_PER_MB:.2f} MB a second, {gb_per_day:.1f} GB a day.")
    for result in results:
        if result.decoder_reason is not None:
            console.print(f"{result.camera} is decoded in {result.decoder}: {result.decoder_reason}.", style="dim")
    if broken := [result.camera for result in results if result.failed and result.has_frames]:
        console.print(f"Not read to the end: {', '.join(broken)}.", style="bold red")
    if failed := [result.camera for result in results if not result.has_frames]:
        console.print(f"No frame came from {', '.join(failed)}.", style="bold red")


def _cells(result: ProbeResult) -> tuple[str | Text, ...]:
    def number(value: float | None, unit: float = 1.0) -> str:
        return "-" if value is None else f"{value / unit:.1f}"

    drops = ", ".join(f"{reason} {count}" for reason, count in result.drops.items() if count)
    state = f"{result.state}; dropped: {drops}" if drops else result.state
    return (
        Text(state, style="" if result.has_frames else "bold red"),
        f"{result.width}x{result.height}" if result.width else "-",
        number(result.source_fps),
        number(result.frames_per_s),
        number(result.bytes_per_s, BYTES_PER_KB),
        number(result.jpeg_bytes, BYTES_PER_KB),
        str(result.still_frames),
        number(result.regions_per_frame),
        result.clock or "-",
        result.decoder or "-",
    )
