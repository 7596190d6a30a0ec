"""Shows what the edge's benchmark found: the table, which goals were reached, what is missing, JSON and a plot."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmarks.edge.results import Results
from benchmarks.harness import Machine
from benchmarks.report import figure_table, plot, report_json

_TABLE_WIDTH = 110  # where the output is no terminal, rich takes 80 and cuts names


def publish(results: Results, *, machine: Machine, json_file: Path, plot_file: Path) -> None:
    """Print all, and write both files; without a comparison there is nothing to plot."""
    figures = {name: figure for item in results.comparisons for name, figure in item.figures().items()}
    figures |= results.figures
    console = Console(width=max(Console().width, _TABLE_WIDTH), highlight=False)
    console.print(figure_table(figures, results.at_least))
    for line in remarks(results):
        console.print(line)
    for file in (json_file, plot_file):
        file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_bytes(report_json(figures, machine, results.settings | {"not_measured": results.missing}))
    if results.comparisons:
        goals = results.at_least | results.at_most
        plot([replace(item, goal=goals.get(item.name)) for item in results.comparisons], plot_file)
    written = f"{json_file} and {plot_file}" if results.comparisons else json_file
    print(f"{machine.cores} cores, {machine.cpu}, load {machine.load_average_1m:g}\nWritten: {written}")


def remarks(results: Results) -> Iterator[str]:
    """A line for each goal that is an upper limit, and for each figure that was not measured."""
    ratios = {item.name: item.ratio.median for item in results.comparisons}
    for name, goal in results.at_most.items():
        reached = ratios[name] <= goal
        yield f"{name} <= {goal:g}: " + ("[green]reached[/]" if reached else "[red]missed[/]")
    for name, why in results.missing.items():
        yield f"[yellow]not measured[/] {escape(f'{name}: {why}')}"
