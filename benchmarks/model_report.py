"""Shows what the model's benchmark found: tables, JSON, and a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Figure, Machine
from benchmarks.model_figures import GOAL, MAIN_MODEL, Case, Results, preprocessing_figures
from benchmarks.preprocessing import SIZES, Way
from benchmarks.report import figure_table, report_json

_TABLE_WIDTH = 110  # where the output is no terminal, rich takes 80 and cuts names
_BARS = {  # side: label, colour
    "onnxruntime_fp32": ("ONNX Runtime alone, fp32", "#b3cde3"),
    "served_fp32": ("served, fp32", "#3182bd"),
    "onnxruntime_int8": ("ONNX Runtime alone, int8", "#fdd0a2"),
    "served_int8": ("served, int8", "#e6550d"),
}
_BAR_WIDTH = 0.2


def publish(
    results: Sequence[Results],
    ways: Sequence[Way],
    *,
    machine: Machine,
    settings: Mapping[str, Any],
    json_file: Path,
    plot_file: Path,
) -> None:
    """Print the tables, and write both files."""
    figures = {name: figure for item in results for name, figure in item.figures().items()}
    figures |= preprocessing_figures(ways)
    cases = [case for item in results for case in item.cases]
    console = Console(width=max(Console().width, _TABLE_WIDTH), highlight=False)
    for table in (rate_table(cases), way_table(ways), headline_table(figures)):
        console.print(table, "")
    for file in (json_file, plot_file):
        file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_bytes(report_json(figures, machine, settings))
    plot(results, ways, plot_file)
    print(
        f"{machine.cores} cores, {machine.cpu}, load {machine.load_average_1m:g}\nWritten: {json_file} and {plot_file}"
    )


def headline_table(figures: Mapping[str, Figure]) -> Table:
    """The figures that the project goes by."""
    wanted = ("served_vs_onnxruntime", "int8_vs_fp32", "model_load_s", "preprocess_exact_ms", "preprocess_fast_ms")
    shown = {
        name: figure for name, figure in figures.items() if name in wanted or name.startswith("int8_vs_fp32_cosine")
    }
    return figure_table(shown, {"served_vs_onnxruntime": GOAL})


def rate_table(cases: Sequence[Case]) -> Table:
    """Images/s of both sides, and their ratio: one row for each model, precision and size of batch."""
    names = ("model", "batch", "", "served", "alone", "ratio", "low", "high", "int8 / fp32")
    table = _table("Served through Triton, and ONNX Runtime alone, images/s", names, left=(0, 2))
    for case in cases:
        for precision in ("fp32", "int8"):
            ratio = case.served_vs_onnxruntime(precision).ratio
            rates = [case.rate(f"{side}_{precision}").median for side in ("served", "onnxruntime")]
            faster = f"{case.int8_vs_fp32().ratio.median:.2f}" if precision == "int8" else ""
            table.add_row(
                case.model,
                str(case.batch_size),
                precision,
                *(f"{rate:.1f}" for rate in rates),
                *(f"{value:.3f}" for value in (ratio.median, ratio.low, ratio.high)),
                faster,
            )
    return table


def way_table(ways: Sequence[Way]) -> Table:
    """The lowest cosine, and ms on one core by size of the picture: one row for each way to scale."""
    sizes = (f"{width}x{height}" for width, height in SIZES)
    table = _table("Scaling a picture to 224x224, ms on one core", ("way", "cosine", *sizes), left=(0,))
    for way in ways:
        costs = (f"{way.cost_ms[size].median:.2f}" for size in SIZES)
        table.add_row(way.name, f"{way.cosine:.6f}", *costs)
    return table


def _table(title: str, names: Sequence[str], *, left: Sequence[int]) -> Table:
    table = Table(*names, title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(table.columns):
        column.justify = "left" if number in left else "right"
    return table


def plot(results: Sequence[Results], ways: Sequence[Way], path: Path) -> None:
    """For each model the rates by size of batch and the ratios below; beside them what scaling costs; a PNG."""
    canvas = Canvas(figsize=(5.5 * (len(results) + 1), 8), layout="constrained")
    axes = canvas.subplots(2, len(results) + 1, squeeze=False)
    for (rates, ratios), item in zip(axes.T, results, strict=False):
        _plot_rates(rates, item)
        _plot_ratios(ratios, item)
    costs, cosines = axes[:, -1]
    _plot_costs(costs, ways)
    _plot_cosines(cosines, ways)
    canvas.savefig(path, dpi=120)


def _plot_rates(axes: Axes, item: Results) -> None:
    for number, (side, (label, colour)) in enumerate(_BARS.items()):
        places = [place + (number - 1.5) * _BAR_WIDTH for place in range(len(item.cases))]
        figures = [case.rate(side) for case in item.cases]
        heights = [figure.median for figure in figures]
        axes.bar(places, heights, _BAR_WIDTH, yerr=_whiskers(figures), capsize=2, label=label, color=colour)
    _batch_axis(axes, item)
    # Room for the legend.
    axes.set(title=f"{item.model}: images/s", ylabel="images/s", ylim=(0, 1.4 * axes.get_ylim()[1]))
    axes.legend(fontsize="small")


def _plot_ratios(axes: Axes, item: Results) -> None:
    for precision, shift in (("fp32", -_BAR_WIDTH / 2), ("int8", _BAR_WIDTH / 2)):
        figures = [case.served_vs_onnxruntime(precision).ratio for case in item.cases]
        places = [place + shift for place in range(len(figures))]
        medians = [figure.median for figure in figures]
        colour = _BARS[f"served_{precision}"][1]
        axes.errorbar(places, medians, yerr=_whiskers(figures), fmt="o", capsize=4, label=precision, color=colour)
    axes.axhline(1, color="grey", linewidth=0.8)
    if item.model == MAIN_MODEL:
        axes.axhline(GOAL, color="green", linestyle="--", label=f"goal {GOAL:g} (fp32, batch 32)")
    _batch_axis(axes, item)
    axes.set(title=f"{item.model}: served / ONNX Runtime alone", ylabel="ratio of a round: median, low, high")
    axes.set_ylim(0, max(1.2, 1.05 * axes.get_ylim()[1]))
    axes.legend(fontsize="small")


def _plot_costs(axes: Axes, ways: Sequence[Way]) -> None:
    for way in ways:
        line, width = ("o-", 2.5) if way.name in {"exact", "fast"} else ("--", 0.8)
        axes.plot(
            range(len(SIZES)), [way.cost_ms[size].median for size in SIZES], line, linewidth=width, label=way.name
        )
    axes.set_xticks(range(len(SIZES)), [f"{width}x{height}" for width, height in SIZES])
    axes.set(title="scaling a picture to 224x224, one core", ylabel="ms", yscale="log")
    axes.set_ylim(top=30 * axes.get_ylim()[1])
    axes.legend(fontsize="small", ncols=2)


def _plot_cosines(axes: Axes, ways: Sequence[Way]) -> None:
    axes.barh([way.name for way in ways], [max(1 - way.cosine, 1e-8) for way in ways], color="#3182bd")
    axes.invert_yaxis()
    axes.set(title="what scaling changes", xlabel="1 - lowest cosine to the reference", xscale="log")


def _batch_axis(axes: Axes, item: Results) -> None:
    axes.set_xticks(range(len(item.cases)), [f"batch {case.batch_size}" for case in item.cases])


def _whiskers(figures: Sequence[Figure]) -> list[list[float]]:
    """As matplotlib wants them: distances below and above."""
    return [[f.median - f.low for f in figures], [f.high - f.median for f in figures]]
