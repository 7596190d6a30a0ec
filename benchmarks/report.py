"""Shows what a benchmark found: a table with goals, what is missing, JSON in the format that all share, and a plot."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.harness import Comparison, Figure, Machine
from benchmarks.results import Results

_THREE_DIGITS = 100
_TABLE_WIDTH = 110  # where the output is no terminal, rich takes 80 and cuts names
_MOST_COLUMNS = 4


def publish(results: Results, *, machine: Machine, json_file: Path, plot_file: Path) -> None:
    """Print all, and write both files; without a comparison there is nothing to plot."""
    publish_figures(results, machine=machine, json_file=json_file)
    if results.comparisons:
        plot_file.parent.mkdir(parents=True, exist_ok=True)
        goals = results.at_least | results.at_most
        plot([replace(item, goal=goals.get(item.name)) for item in results.comparisons], plot_file)
        print(f"Written: {plot_file}")


def publish_figures(results: Results, *, machine: Machine, json_file: Path) -> None:
    """Print the table, and what is missing, and write the JSON; the plot is someone else's."""
    figures = {name: figure for item in results.comparisons for name, figure in item.figures().items()}
    figures |= results.figures
    console = Console(width=max(Console().width, _TABLE_WIDTH), highlight=False)
    console.print(figure_table(figures, results.at_least, results.at_most))
    for name, why in results.missing.items():
        console.print(f"[yellow]not measured[/] {escape(f'{name}: {why}')}")
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_bytes(report_json(figures, machine, results.settings | {"not_measured": results.missing}))
    print(f"{machine.cores} cores, {machine.cpu}, load {machine.load_average_1m:g}\nWritten: {json_file}")


def report_json(figures: Mapping[str, Figure], machine: Machine, settings: Mapping[str, Any]) -> bytes:
    """`{"figures": {name: {median, low, high, unit}}, "machine": …, "settings": …}`, indented."""
    whole = {
        "figures": {name: asdict(figure) for name, figure in figures.items()},
        "machine": asdict(machine),
        "settings": dict(settings),
    }
    return msgspec.json.format(msgspec.json.encode(whole)) + b"\n"


def figure_table(
    figures: Mapping[str, Figure], at_least: Mapping[str, float], at_most: Mapping[str, float] | None = None
) -> Table:
    """One row for each figure; a figure with a goal says whether its median reaches it."""
    table = Table("figure", "median", "low", "high", "unit", "goal", box=None, pad_edge=False)
    for column in table.columns[1:4]:
        column.justify = "right"
    for name, figure in figures.items():
        values = map(_short, (figure.median, figure.low, figure.high))
        goal = _goal(figure.median, at_least.get(name), (at_most or {}).get(name))
        table.add_row(name, *values, figure.unit, goal)
    return table


def _short(value: float) -> str:
    """Three digits, and never an exponent."""
    decimals = next((decimals for decimals in (0, 1, 2) if abs(value) >= _THREE_DIGITS / 10**decimals), 3)
    return f"{value:.{decimals}f}"


def _goal(value: float, least: float | None, most: float | None) -> str:
    if least is not None:
        return _judged(f">= {least:g}", reached=value >= least)
    return "" if most is None else _judged(f"<= {most:g}", reached=value <= most)


def _judged(goal: str, *, reached: bool) -> str:
    return f"[green]{goal}: reached[/]" if reached else f"[red]{goal}: missed[/]"


def plot(comparisons: Sequence[Comparison], path: Path) -> None:
    """For each comparison the rates of both sides in every round, and below the ratio with its goal; a PNG."""
    bands, columns = grid(len(comparisons))
    canvas = Canvas(figsize=(5 * columns, 6 * bands), layout="constrained")
    axes = canvas.subplots(2 * bands, columns, squeeze=False)
    for number in range(bands * columns):
        band, column = divmod(number, columns)
        rates, ratios = axes[2 * band : 2 * band + 2, column]
        if number < len(comparisons):
            _plot_rates(rates, comparisons[number])
            _plot_ratios(ratios, comparisons[number])
        else:
            rates.set_axis_off()
            ratios.set_axis_off()
    canvas.savefig(path, dpi=120)


def grid(comparisons: int) -> tuple[int, int]:
    """Bands below each other and columns side by side, four at most, in which so many find room."""
    columns = min(comparisons, _MOST_COLUMNS)
    return math.ceil(comparisons / columns), columns


def _plot_rates(axes: Axes, item: Comparison) -> None:
    numbers = range(1, len(item.rounds) + 1)
    axes.plot(numbers, [r.subject for r in item.rounds], "o-", label=item.subject)
    axes.plot(numbers, [r.reference for r in item.rounds], "s--", label=item.reference)
    axes.set(title=item.name, ylabel=item.unit, ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def _plot_ratios(axes: Axes, item: Comparison) -> None:
    axes.plot(range(1, len(item.rounds) + 1), [r.ratio for r in item.rounds], "o-", color="black")
    axes.axhline(item.ratio.median, color="grey", linestyle=":", label=f"median {item.ratio.median:.2f}")
    if item.goal is not None:
        axes.axhline(item.goal, color="green", label=f"goal {item.goal:g}")
    axes.set(xlabel="round", ylabel="ratio", ylim=(0, max(1.2, 1.1 * item.ratio.high, 1.1 * (item.goal or 0))))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
