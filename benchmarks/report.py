"""Shows what a benchmark found: a table with goals, JSON, and a plot."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from matplotlib.figure import Figure as Canvas
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.harness import Figure, Results

_TABLE_WIDTH = 110  # rich assumes 80 where the output is no terminal, and would cut names
_BAR_INCHES, _TITLE_INCHES = 0.3, 0.8
_THREE_DIGITS = 100


def describe_machine() -> dict[str, Any]:
    """This machine and its load; with a load above the number of cores figures are worthless."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = (line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name"))
    return {
        "cpu": next(models, "unknown"),  # ARM has no such line
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_bytes / 2**30, 1),
        "load_average_1m": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def publish(results: Results, *, name: str, machine: Mapping[str, Any], folder: Path) -> None:
    """Print the table and what is missing, and write both to NAME.json and a plot to NAME.png in `folder`."""
    console = Console(width=max(Console().width, _TABLE_WIDTH), highlight=False)
    console.print(figure_table(results))
    for part, why in results.missing.items():
        console.print(f"[yellow]not measured[/] {escape(f'{part}: {why}')}")
    folder.mkdir(parents=True, exist_ok=True)
    json_file, plot_file = folder / f"{name}.json", folder / f"{name}.png"
    report: dict[str, Any] = {
        "figures": {name: asdict(figure) for name, figure in results.figures.items()},
        "machine": machine,
        "settings": results.settings | {"not_measured": results.missing},
    }
    json_file.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    print("{cores} cores, {cpu}, load {load_average_1m:g}".format_map(machine), f"\nWritten: {json_file}")
    if results.figures:
        plot(results, plot_file)
        print(f"Written: {plot_file}")


def figure_table(results: Results) -> Table:
    """One row for each figure; a figure with a goal says whether its median reaches it."""
    table = Table("figure", "median", "low", "high", "unit", "goal", box=None, pad_edge=False)
    for column in table.columns[1:4]:
        column.justify = "right"
    for name, figure in results.figures.items():
        values = map(_short, (figure.median, figure.low, figure.high))
        table.add_row(name, *values, figure.unit, _goal(name, figure, results))
    return table


def _short(value: float) -> str:
    """About three digits, and never an exponent."""
    decimals = next((decimals for decimals in (0, 1, 2) if abs(value) >= _THREE_DIGITS / 10**decimals), 3)
    return f"{value:.{decimals}f}"


def _goal(name: str, figure: Figure, results: Results) -> str:
    if (inside := results.within.get(name)) is not None:
        return _verdict(f"{inside:g} within low and high", reached=figure.low <= inside <= figure.high)
    if (low := results.at_least.get(name)) is not None:
        return _verdict(f">= {low:g}", reached=figure.median >= low)
    high = results.at_most.get(name)
    return "" if high is None else _verdict(f"<= {high:g}", reached=figure.median <= high)


def _verdict(goal: str, *, reached: bool) -> str:
    return f"[green]{goal}: reached[/]" if reached else f"[red]{goal}: missed[/]"


def plot(results: Results, path: Path) -> None:
    """A PNG with one plot for each unit: the median of each figure as a bar, its lowest and highest value, its goal."""
    units = list(dict.fromkeys(figure.unit for figure in results.figures.values()))
    groups = [{name: f for name, f in results.figures.items() if f.unit == unit} for unit in units]
    heights = [_TITLE_INCHES + _BAR_INCHES * len(group) for group in groups]
    canvas = Canvas(figsize=(10, sum(heights)), layout="constrained")
    places = canvas.subplots(len(units), squeeze=False, height_ratios=heights)[:, 0]
    goals = results.at_least | results.at_most | results.within
    for axes, unit, group in zip(places, units, groups, strict=True):
        medians = [figure.median for figure in group.values()]
        spread = [[f.median - f.low for f in group.values()], [f.high - f.median for f in group.values()]]
        bars = axes.barh(list(group), medians, xerr=spread, capsize=3, color="tab:blue", ecolor="black")
        axes.bar_label(bars, list(map(_short, medians)), padding=4)  # also where one bar is a thousand times longer
        axes.margins(x=0.1)
        for number, name in enumerate(group):
            if name in goals:
                axes.plot([goals[name]] * 2, [number - 0.45, number + 0.45], color="green", linewidth=3)
        axes.invert_yaxis()
        axes.set_xlabel(unit)
    canvas.savefig(path, dpi=120)
