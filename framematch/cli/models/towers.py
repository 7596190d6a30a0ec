"""The long steps of `framematch model build`: int8 with its report, and the measured plan for the CPU."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from framematch.cli.common import progress_bar
from framematch.cli.console import new_console, print_text

if TYPE_CHECKING:
    from framematch.model_build.bundles.bundle import Bundle
    from framematch.model_build.graphs.towers import Tower
    from framematch.model_build.int8.calibration import CalibrationSet
    from framematch.model_build.int8.report import QuantizationReport
    from framematch.model_build.repository.build_options import BuildOptions, CpuPlan

# The batch size with which plans are measured, a typical one.
_TUNED_BATCH = 8


def int8_tower(bundle: "Bundle", tower: "Tower", pictures: Path, *, force: bool) -> "Tower":
    """The image tower as int8, calibrated with half of the pictures and evaluated with the others. Prints the report.

    Raises:
        ModelError: there are too few pictures, or the embeddings change too much and `force` is not set.
    """
    from framematch.model_build.int8.calibration import read_calibration
    from framematch.model_build.int8.quantize import quantize_image_tower
    from framematch.model_build.int8.report import compare_towers
    from framematch.vision.preprocess import Preprocessor

    # The default of `catalog build`, which consumers follow.
    preprocessor = Preprocessor(bundle.preprocess, "fast")
    with progress_bar("Reading", "pictures") as show:
        given = read_calibration(pictures, preprocessor, on_progress=show)
    with progress_bar("Quantising", "pictures") as show:
        graph = quantize_image_tower(tower.graph, given.calibration, on_progress=show)
    report = compare_towers(tower.graph, graph, given.evaluation, given.labels)
    _print_report(report, given)
    if not force:
        report.require()
    elif problems := report.problems():
        print_text(f"  --force: built in spite of {'; '.join(problems)}")
    return replace(tower, graph=graph)


def measured_plan(bundle: "Bundle", tower: "Tower", options: "BuildOptions") -> "CpuPlan":
    """The fastest plan for this machine's cores, measured with random pictures. Prints all plans."""
    import numpy as np

    from framematch.model_build.repository.tune import available_cores, measure_cpu_plans

    spec, size = bundle.preprocess, min(_TUNED_BATCH, options.max_batch_size)
    shape = (size, spec.crop_height, spec.crop_width, 3)
    batch = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    cores = available_cores()
    with progress_bar("Measuring", "runs") as show:
        measured = measure_cpu_plans(tower.graph, batch, cores, on_progress=show)
    print_text(f"Plans for {cores} cores of this machine, batches of {size}, the best first:")
    table = Table("Instances", "Threads each", "Images/s", box=None, pad_edge=False)
    for plan, images_per_s in measured:
        table.add_row(str(plan.instances), str(plan.threads), f"{images_per_s:.1f}")
    new_console(soft_wrap=True).print(table)
    return measured[0].plan


def _print_report(report: "QuantizationReport", given: "CalibrationSet") -> None:
    from framematch.model_build.int8.report import QuantizationLimits

    limits = QuantizationLimits()
    counts = f"{len(given.calibration)} pictures for calibration, {report.pictures} for evaluation"
    print_text(f"int8 against fp32 ({counts}{f', {given.unreadable} not readable' if given.unreadable else ''}):")
    table = Table("", "Found", "Limit", box=None, pad_edge=False)
    table.add_row("mean cosine", f"{report.mean_cosine:.4f}", f"at least {limits.mean_cosine}")
    table.add_row("lowest cosine", f"{report.lowest_cosine:.4f}", f"at least {limits.lowest_cosine}")
    if report.retrieval is None:
        limit = f"at least {limits.same_neighbour:.0%}"
        table.add_row("same nearest picture", f"{report.same_neighbour:.1%}", limit)
    else:
        found = f"{report.retrieval.before:.1%} in fp32, {report.retrieval.after:.1%} in int8"
        limit = f"a drop of at most {limits.retrieval_drop:.0%}, beyond chance"
        table.add_row("right product first", found, limit)
    new_console(soft_wrap=True).print(table)
