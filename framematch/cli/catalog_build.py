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
from framematch.cli.product_embedding import embed_changes
from framematch.core.errors import ModelError
from framematch.core.paths import state_dir
from framematch.core.settings import Settings
from framematch.core.settings_sources import require
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
    manifest, active = asyncio.run(_build(settings, preprocessing, report, model=model, activate=activate))
    state = {manifest.id: "active", None: "stored"}.get(active, f"stored; {active} is active, which has newer data")
    print_text(f"Snapshot {manifest.id} is {state}")
    for name, text in _lines(manifest, report):
        print_text(f"  {name:<11} {text}")
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
    return [*lines, ("shared", shared_line(shared))] if shared.products else lines


async def _build(
    settings: Settings,
    preprocessing: Literal["fast", "exact"],
    report: "BuildReport",
    *,
    model: str | None,
    activate: bool,
) -> "tuple[SnapshotManifest, str | None]":
    """Build and store a snapshot; returns it, and the active snapshot if this one was to be activated."""
    from framematch.catalog.building.build import BuildOptions
    from framematch.catalog.building.stored_build import Builder, activate_built, active_snapshot
    from framematch.catalog.products import ProductStore
    from framematch.catalog.snapshots.storage import open_storage
    from framematch.vision.encoder import ImageEncoder
    from framematch.vision.preprocess import Preprocessor

    triton, options = settings.triton, settings.snapshots
    url = require(triton.url, "triton.url")
    digest = None if model is None else await _served_digest(url, model, triton.timeout_s)
    async with (
        open_database(settings) as database,
        await ImageEncoder.connect(url, digest, timeout_s=triton.timeout_s, key=triton.key) as encoder,
    ):
        builder = Builder(ProductStore(database), open_storage(options.url, database), state_dir() / "snapshots")
        active_before = await active_snapshot(database)
        with progress_bar("Embedding", "pictures") as show:
            manifest = await builder.build(
                encoder,
                Preprocessor(encoder.manifest.preprocess, preprocessing),
                BuildOptions(options.index_kind, options.index_memory_mb),
                show,
                report,
            )
        if not activate:
            return manifest, None
        await embed_changes(settings, database, [manifest.id])
        active = await activate_built(database, manifest, active_before)
        await embed_changes(settings, database, [manifest.id])  # what was changed meanwhile
        return manifest, active


async def _served_digest(url: str, start: str, timeout_s: float) -> str:
    """The digest of the one served model whose digest starts so.

    Raises:
        ModelError: there is none, or there are several.
        TritonUnavailableError: Triton does not answer.
    """
    from framematch.vision.served_models import list_served_models

    served = await list_served_models(url, timeout_s=timeout_s)
    found = [each.manifest.digest for each in served if each.manifest.digest.startswith(start.lower())]
    if len(found) != 1:
        models = ", ".join(f"{each.manifest.digest[:12]} ({each.manifest.name})" for each in served) or "none"
        raise ModelError(
            f"Triton serves {len(found) or 'no'} models whose digest starts with {start!r}",
            hint=f"It serves these models: {models}",
        )
    return found[0]
