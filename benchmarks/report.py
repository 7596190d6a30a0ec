"""Shows what a benchmark found: a table with goals, JSON, and a plot."""

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.harness import Comparison, Figure, Panel, Results

_TABLE_WIDTH = 110  # rich assumes 80 where the output is no terminal, and would cut names
_MAX_COLUMNS = 4
_THREE_DIGITS = 100


@dataclass(frozen=True)
class Machine:
    """Where figures were measured; they are true for this machine only."""

    cpu: str
    cores: int
    memory_gib: float
    load_average_1m: float
    system: str
    python: str


def describe_machine() -> Machine:
    """This machine and its load; with a load above the number of cores figures are worthless."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = (line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name"))
    return Machine(
        cpu=next(models, "unknown"),  # ARM has no such line
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(memory_bytes / 2**30, 1),
        load_average_1m=round(os.getloadavg()[0], 2),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
    )


def publish(results: Results, *, name: str, machine: Machine, folder: Path) -> None:
    """Print the table and what is missing, and write NAME.json and NAME.png into `folder`."""
    console = Console(width=max(Console().width, _TABLE_WIDTH), highlight=False)
    console.print(figure_table(results))
    for part, why in results.missing.items():
        console.print(f"[yellow]not measured[/] {escape(f'{part}: {why}')}")
    folder.mkdir(parents=True, exist_ok=True)
    json_file, plot_file = folder / f"{name}.json", folder / f"{name}.png"
    json_file.write_bytes(report_json(results, machine))
    print(f"{machine.cores} cores, {machine.cpu}, load {machine.load_average_1m:g}\nWritten: {json_file}")
    goals = results.at_least | results.at_most
    panels = results.panels + [partial(_plot, item, goals.get(item.name)) for item in results.comparisons]
    if panels:
        draw(panels, plot_file)
        print(f"Written: {plot_file}")


def report_json(results: Results, machine: Machine) -> bytes:
    """`{"figures": {name: {median, low, high, unit}}, "machine": ..., "settings": ...}`, indented."""
    whole: dict[str, Any] = {
        "figures": {name: asdict(figure) for name, figure in results.figures.items()},
        "machine": asdict(machine),
        "settings": results.settings | {"not_measured": results.missing},
    }
    return msgspec.json.format(msgspec.json.encode(whole)) + b"\n"


def figure_table(results: Results) -> Table:
    """One row for each figure; a figure with a goal says whether its median reaches it."""
    table = Table("figure", "median", "low", "high", "unit", "goal", box=None, pad_edge=False)
    for column in table.columns[1:4]:
        column.justify = "right"
    for name, figure in results.figures.items():
        values = map(_short, (figure.median, figure.low, figure.high))
        table.add_row(name, *values, figure.unit, _goal(name, figure.median, results))
    return table


def _short(value: float) -> str:
    """About three digits, and never an exponent."""
    decimals = next((decimals for decimals in (0, 1, 2) if abs(value) >= _THREE_DIGITS / 10**decimals), 3)
    return f"{value:.{decimals}f}"


def _goal(name: str, value: float, results: Results) -> str:
    if (low := results.at_least.get(name)) is not None:
        return _verdict(f">= {low:g}", reached=value >= low)
    high = results.at_most.get(name)
    return "" if high is None else _verdict(f"<= {high:g}", reached=value <= high)


def _verdict(goal: str, *, reached: bool) -> str:
    return f"[green]{goal}: reached[/]" if reached else f"[red]{goal}: missed[/]"


def draw(panels: Sequence[Panel], path: Path) -> None:
    """All plots in one PNG, up to four side by side."""
    columns = min(len(panels), _MAX_COLUMNS)
    rows = math.ceil(len(panels) / columns)
    canvas = Canvas(figsize=(5 * columns, 4 * rows), layout="constrained")
    axes = list(canvas.subplots(rows, columns, squeeze=False).flat)
    for panel, place in zip(panels, axes, strict=False):
        panel(place)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    canvas.savefig(path, dpi=120)


def _plot(item: Comparison, goal: float | None, axes: Axes) -> None:
    """The ratio of each round, its median, and the goal."""
    axes.plot(range(1, len(item.rounds) + 1), [r.ratio for r in item.rounds], "o-", color="black")
    axes.axhline(item.ratio.median, color="grey", linestyle=":", label=f"median {item.ratio.median:.2f}")
    if goal is not None:
        axes.axhline(goal, color="green", label=f"goal {goal:g}")
    axes.set(title=item.name, xlabel="round", ylabel=f"{item.subject} / {item.reference}")
    axes.set_ylim(0, max(1.2, 1.1 * item.ratio.high, 1.1 * (goal or 0)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def error_bars(figures: Mapping[float, Figure]) -> tuple[list[float], list[float], list[list[float]]]:
    """x, y and the distances to the lowest and highest value, for `Axes.errorbar`."""
    found = list(figures.values())
    medians = [figure.median for figure in found]
    return list(figures), medians, [[f.median - f.low for f in found], [f.high - f.median for f in found]]
