"""`framematch catalog build`: builds the index that consumers search, and activates it."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command, progress_bar
from framematch.cli.console import print_text
from framematch.cli.database import open_database
from framematch.cli.import_table import shared_line
from framematch.cli.text import counted
from framematch.core.paths import state_dir
from framematch.core.settings import Settings
from framematch.core.units import BYTES_PER_MB

if TYPE_CHECKING:
    from framematch.catalog.building.build import BuildReport
    from framematch.catalog.snapshots.snapshot import SnapshotManifest


def build(
    preprocessing: Annotated[
        Literal["fast", "exact"],
        typer.Option(help="How pictures are scaled: `fast` takes less CPU, `exact` is what CLIP was trained with."),
    ] = "fast",
    model: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST",
            help="The first digits of the digest of a model that Triton serves.",
            show_default="the newest built",
        ),
    ] = None,
    activate: Annotated[
        bool, typer.Option(help="Make it the active snapshot; else try it with `framematch catalog shadow ID` first.")
    ] = True,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Build an index snapshot from all products, store it, and make it the active one.

    Only pictures that are new to the model that Triton serves are embedded. Consumers scale frames in the same way.
    Consumers and other services that run serve the new snapshot within seconds, without a restart.

    Exit code 1 when the index finds too few of the nearest pictures: then it is stored, and the old one stays active.
    """
    settings = prepare_command("catalog", config)
    from framematch.catalog.building.build import BuildReport
    from framematch.catalog.snapshots.empty_frames import explain

    started_s, report = time.monotonic(), BuildReport()
    manifest, active, calibrated = asyncio.run(_build(settings, preprocessing, report, model=model, activate=activate))
    state = {manifest.id: "active", None: "stored"}.get(active, f"stored; {active} is active, which has newer data")
    print_text(f"Snapshot {manifest.id} is {state}")
    for name, text in _lines(manifest, report):
        print_text(f"  {name:<11} {text}")
    if calibrated:
        print_text(f"  calibration {calibrated}")
    print_text(f"  took        {time.monotonic() - started_s:.1f} s")
    if warning := explain(manifest.empty_frames):
        print_text(f"Warning: {warning}")


def _lines(manifest: "SnapshotManifest", report: "BuildReport") -> list[tuple[str, str]]:
    thresholds, shared = manifest.thresholds, report.owners.shared()
    kept = report.pictures - report.new_pictures
    model = f"{manifest.model_name} {manifest.model_digest[:12]}, {manifest.preprocessing_variant} preprocessing"
    index = f"{manifest.index.kind}, {sum(file.bytes for file in manifest.files.values()) / BYTES_PER_MB:.1f} MB"
    if manifest.index.queries:
        index += f", finds {manifest.index.recall_at_1:.1%} of the nearest and {manifest.index.recall_at_10:.1%} of ten"
    lines = [
        ("rows", f"{manifest.rows} views of {manifest.products} products, {manifest.dimension} dimensions"),
        ("pictures", f"{report.new_pictures} embedded, {kept} kept from earlier builds"),
        ("model", model),
        ("index", index),
        ("thresholds", f"match {thresholds.match:.3f}, margin {thresholds.margin:.3f}: {thresholds.explain()}"),
    ]
    if manifest.nothing or report.nothing_like_products:
        lines.append(("nothing", _nothing_line(manifest.nothing, report.nothing_like_products)))
    return [*lines, ("shared", shared_line(shared))] if shared.products else lines


def _nothing_line(rows: int, like_products: int) -> str:
    known = f"{counted(rows, 'picture')} without a product, which show an empty scene"
    left_out = f"; {counted(like_products, 'other')} left out, as a product has the same picture"
    return known + left_out if like_products else known


async def _build(
    settings: Settings,
    preprocessing: Literal["fast", "exact"],
    report: "BuildReport",
    *,
    model: str | None,
    activate: bool,
) -> "tuple[SnapshotManifest, str | None, str]":
    """Build and store a snapshot.

    Returns it, the active snapshot if this one was to be activated, and what became of its calibration.
    """
    from framematch.catalog.building.served_build import ServedBuild, build_served
    from framematch.matching.calibrate_snapshot import BuildCalibration

    async with open_database(settings) as database:
        calibrate = BuildCalibration(settings, database)
        wanted = ServedBuild(preprocessing, model, activate, report, calibrate)
        with progress_bar("Embedding", "pictures") as show:
            manifest, active = await build_served(settings, database, state_dir() / "snapshots", wanted, show)
    return manifest, active, calibrate.said
