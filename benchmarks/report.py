"""Shows comparisons: a table, JSON in the format that all benchmarks share, and a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Comparison, Figure, Machine

_THREE_DIGITS = 100
_TABLE_WIDTH = 110  # where the output is no terminal, rich takes 80 and cuts names


def publish(
    comparisons: Sequence[Comparison],
    *,
    machine: Machine,
    settings: Mapping[str, Any],
    json_file: Path,
    plot_file: Path,
    more: Mapping[str, Figure] | None = None,
) -> None:
    """Print the table, and write both files; `more` are figures beside the comparisons'."""
    figures = {name: figure for item in comparisons for name, figure in item.figures().items()} | dict(more or {})
    goals = {item.name: item.goal for item in comparisons if item.goal is not None}
    Console(width=max(Console().width, _TABLE_WIDTH)).print(figure_table(figures, goals))
    for file in (json_file, plot_file):
        file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_bytes(report_json(figures, machine, settings))
    plot(comparisons, plot_file)
    print(
        f"{machine.cores} cores, {machine.cpu}, load {machine.load_average_1m:g}\nWritten: {json_file} and {plot_file}"
    )


def report_json(figures: Mapping[str, Figure], machine: Machine, settings: Mapping[str, Any]) -> bytes:
    """`{"figures": {name: {median, low, high, unit}}, "machine": …, "settings": …}`, indented."""
    whole = {
        "figures": {name: asdict(figure) for name, figure in figures.items()},
        "machine": asdict(machine),
        "settings": dict(settings),
    }
    return msgspec.json.format(msgspec.json.encode(whole)) + b"\n"


def figure_table(figures: Mapping[str, Figure], goals: Mapping[str, float]) -> Table:
    """One row for each figure; a figure with a goal says whether its median reaches it."""
    table = Table("figure", "median", "low", "high", "unit", "goal", box=None, pad_edge=False)
    for column in table.columns[1:4]:
        column.justify = "right"
    for name, figure in figures.items():
        values = map(_short, (figure.median, figure.low, figure.high))
        table.add_row(name, *values, figure.unit, _goal(figure, goals.get(name)))
    return table


def _short(value: float) -> str:
    """Three digits, and never an exponent."""
    decimals = next((decimals for decimals in (0, 1, 2) if value >= _THREE_DIGITS / 10**decimals), 3)
    return f"{value:.{decimals}f}"


def _goal(figure: Figure, goal: float | None) -> str:
    if goal is None:
        return ""
    return f"[green]>= {goal:g}: reached[/]" if figure.median >= goal else f"[red]>= {goal:g}: missed[/]"


def plot(comparisons: Sequence[Comparison], path: Path) -> None:
    """For each comparison the rates of both sides in every round, and below the ratio with its goal; a PNG."""
    canvas = Canvas(figsize=(5 * len(comparisons), 6), layout="constrained")
    axes = canvas.subplots(2, len(comparisons), squeeze=False, sharex="col")
    for (rates, ratios), item in zip(axes.T, comparisons, strict=True):
        numbers = range(1, len(item.rounds) + 1)
        rates.plot(numbers, [r.subject for r in item.rounds], "o-", label=item.subject)
        rates.plot(numbers, [r.reference for r in item.rounds], "s--", label=item.reference)
        rates.set(title=item.name, ylabel=item.unit, ylim=(0, None))
        rates.legend()
        ratios.plot(numbers, [r.ratio for r in item.rounds], "o-", color="black")
        ratios.axhline(item.ratio.median, color="grey", linestyle=":", label=f"median {item.ratio.median:.2f}")
        if item.goal is not None:
            ratios.axhline(item.goal, color="green", label=f"goal {item.goal:g}")
        ratios.set(xlabel="round", ylabel="ratio", ylim=(0, max(1.2, 1.1 * item.ratio.high)))
        ratios.xaxis.set_major_locator(MaxNLocator(integer=True))
        ratios.legend()
    canvas.savefig(path, dpi=120)
