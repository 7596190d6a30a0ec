"""The long steps of `framematch model build`: int8 with its report, and the measured sharing out of the cores."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

if TYPE_CHECKING:
    from framematch.model_build.bundles.bundle import Bundle
    from framematch.model_build.graphs.towers import Tower
    from framematch.model_build.int8.calibration import CalibrationSet
    from framematch.model_build.int8.report import QuantizationReport
    from framematch.model_build.repository.build_options import BuildOptions, CpuPlan

# What an instance computes at a time while plans are measured: a batch as it often comes together.
_TUNED_BATCH = 8

out = Console(highlight=False, soft_wrap=True)


def int8_tower(bundle: "Bundle", tower: "Tower", pictures: Path, *, force: bool) -> "Tower":
    """The image tower as int8, calibrated with half of the pictures and judged by the others; prints the report.

    Raises:
        ModelError: there are too few pictures, or the embeddings change too much and nobody forces it.
    """
    from framematch.model_build.int8.calibration import read_calibration
    from framematch.model_build.int8.quantize import compare_towers, quantize_image_tower
    from framematch.vision.preprocess import Preprocessor

    # As the catalogue and consumers do unless told otherwise.
    preprocessor = Preprocessor(bundle.preprocess, "fast")
    with _progress("Reading pictures") as show:
        given = read_calibration(pictures, preprocessor, on_progress=show)
    with _progress("Quantising") as show:
        graph = quantize_image_tower(tower.graph, given.calibrating, on_progress=show)
    report = compare_towers(tower.graph, graph, given.judging, given.labels)
    _print_report(report, given)
    if not force:
        report.require()
    elif problems := report.problems():
        typer.echo(f"  --force: built in spite of {'; '.join(problems)}")
    return replace(tower, graph=graph)


def measured_plan(bundle: "Bundle", tower: "Tower", options: "BuildOptions") -> "CpuPlan":
    """The fastest way of sharing out this machine's cores, on random pictures; prints what was measured."""
    import numpy as np

    from framematch.model_build.repository.tune import available_cores, measure_cpu_plans

    spec, size = bundle.preprocess, min(_TUNED_BATCH, options.max_batch_size)
    shape = (size, spec.crop_height, spec.crop_width, 3)
    batch = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    cores = available_cores()
    with _progress("Measuring plans") as show:
        measured = measure_cpu_plans(tower.graph, batch, cores, on_progress=show)
    typer.echo(f"Plans for {cores} cores of this machine, batches of {size}, the best first:")
    table = Table("Instances", "Threads of each", "Images/s", box=None, pad_edge=False)
    for plan, images_per_s in measured:
        table.add_row(str(plan.instances), str(plan.threads), f"{images_per_s:.1f}")
    out.print(table)
    return measured[0].plan


def _print_report(report: "QuantizationReport", given: "CalibrationSet") -> None:
    from framematch.model_build.int8.quantize import QuantizationLimits

    limits = QuantizationLimits()
    judged = f"{len(given.calibrating)} pictures calibrated, {report.pictures} others judge"
    typer.echo(f"int8 against fp32 ({judged}{f', {given.unreadable} not readable' if given.unreadable else ''}):")
    table = Table("", "Found", "Wanted", box=None, pad_edge=False)
    table.add_row("mean cosine", f"{report.mean_cosine:.4f}", f"at least {limits.mean_cosine}")
    table.add_row("lowest cosine", f"{report.lowest_cosine:.4f}", f"at least {limits.lowest_cosine}")
    if report.retrieval is None:
        wanted = f"at least {limits.same_neighbour:.0%}"
        table.add_row("same nearest picture", f"{report.same_neighbour:.1%}", wanted)
    else:
        found = f"{report.retrieval.before:.1%} in fp32, {report.retrieval.after:.1%} in int8"
        wanted = f"a drop of at most {limits.retrieval_drop:.0%}, beyond chance"
        table.add_row("right product first", found, wanted)
    out.print(table)


@contextmanager
def _progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while it lasts; the callback takes what is done and the whole."""
    errors = Console(stderr=True)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
