"""`framematch model build`: builds a model from a bundle, and makes a running Triton load it."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from framematch.cli.common import prepare_command
from framematch.cli.console import print_text
from framematch.cli.errors import has_local_stack
from framematch.cli.models.hub import fetch_bundle
from framematch.cli.models.towers import int8_tower, measured_plan
from framematch.core.errors import ModelError, UsageError

if TYPE_CHECKING:
    from framematch.core.settings import TritonSettings
    from framematch.model_build.repository.build_options import BuildOptions
    from framematch.vision.manifest import ModelManifest


def build(
    *,
    bundle: Annotated[
        Path | None, typer.Option("--from", help="Folder of an ONNX export: config.json, tokenizer.json, onnx/ …")
    ] = None,
    hub: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Download the export of this model, for instance `openai/clip-vit-base-patch32`."
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(
            help="Branch, tag or commit of --hub.",
            show_default="the commit of the build before, or main if there is none",
        ),
    ] = None,
    target: Annotated[
        Literal["cpu", "onnx", "tensorrt"],
        typer.Option(
            help="What runs the graph: `cpu` is ONNX Runtime in Triton's python backend, `onnx` its onnxruntime "
            "backend on a GPU, `tensorrt` an engine that is built in Triton's container."
        ),
    ] = "cpu",
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(help="Of the image tower.", show_default="fp16 for tensorrt, else fp32"),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Pictures like those to be matched; int8 needs them.")
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Measure how many instances and threads are fastest, and use them (`cpu`).")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Build int8 even if it changes embeddings too much.")] = False,
    out: Annotated[Path, typer.Option(help="Triton's model repository.")] = Path("model_repository"),
    max_batch_size: Annotated[int, typer.Option(min=1, help="Pictures or texts in one run of the model.")] = 32,
    jpeg: Annotated[
        Literal["fast", "exact", "gpu"] | None,
        typer.Option(
            help="Also serve the model with a step that decodes JPEGs, for `consumer.decode: server` and snapshots "
            "with this `catalog build --preprocessing`; `gpu` decodes with nvJPEG, for `fast`."
        ),
    ] = None,
) -> None:
    """Build a model from a bundle, and make a running Triton load it beside the models that it serves.

    The bundle is a folder (--from) or is downloaded from the hub (--hub), pinned to a commit. Rescaling, normalising
    and the unit length become parts of the graphs: Triton takes uint8 pixels and returns unit vectors. The folders of
    the model are named by its digest. Other models stay and go on being served, so consumers do not notice; the next
    `catalog build` uses the new one. `model prune` removes models that no snapshot needs any more.
    """
    settings = prepare_command("model")
    _check_source(bundle, hub, revision)
    from framematch.model_build.bundles.bundle import load_bundle
    from framematch.model_build.graphs.towers import fold_towers
    from framematch.model_build.repository.build_options import BuildOptions
    from framematch.model_build.repository.model_repository import build_model_repository
    from framematch.model_build.repository.targets import next_step
    from framematch.vision.manifest import IMAGE_MODEL

    try:
        options = BuildOptions(target, precision, max_batch_size, jpeg=jpeg)
    except ModelError as error:
        raise UsageError(error.message, hint=error.hint) from error
    _check_options(options, calibration, tune=tune, force=force)
    read = load_bundle(bundle or fetch_bundle(str(hub), revision))
    towers = fold_towers(read)
    if calibration is not None:
        towers[IMAGE_MODEL] = int8_tower(read, towers[IMAGE_MODEL], calibration, force=force)
    if tune:
        options = replace(options, cpu_plan=measured_plan(read, towers[IMAGE_MODEL], options))
    manifest = build_model_repository(read, out, options, towers=towers)
    _print_built(manifest, target, read.path, out.resolve())
    step = next_step(manifest, out.resolve())
    print_text(step or _serve(settings.triton, manifest, out.resolve(), jpeg=jpeg is not None))


def _print_built(manifest: "ModelManifest", target: str, source: Path, repository: Path) -> None:
    towers = "pictures" if manifest.context_length is None else "pictures and texts"
    print_text(f"Built {manifest.name}: {towers} to {manifest.dimension} dimensions, {manifest.precision}, {target}")
    print_text(f"  digest  {manifest.digest}")
    print_text(f"  bundle  {source}")
    print_text(f"  folder  {repository}")


def _check_source(bundle: Path | None, hub: str | None, revision: str | None) -> None:
    if (bundle is None) == (hub is None):
        raise UsageError(
            "a model has one source",
            hint="Give either --from DIR or --hub NAME, for instance --hub openai/clip-vit-base-patch32",
        )
    if revision is not None and hub is None:
        raise UsageError("--revision is for a hub's repository", hint="Give it with --hub, or leave it out")


def _check_options(options: "BuildOptions", calibration: Path | None, *, tune: bool, force: bool) -> None:
    """Refuse options that have no effect, or that need another option."""
    quantised = options.served_precision == "int8"
    if quantised and calibration is None:
        raise UsageError(
            "int8 needs pictures to calibrate with", hint="Give --calibration DIR, a folder of some hundred pictures"
        )
    if calibration is not None and not quantised:
        raise UsageError("--calibration is for int8", hint="Add --precision int8, or leave it out")
    if calibration is not None and not calibration.is_dir():
        raise UsageError(f"--calibration {calibration} is not a folder", hint="Name a folder of pictures")
    if force and not quantised:
        raise UsageError("--force is for int8", hint="Add --precision int8, or leave it out")
    if tune and options.target != "cpu":
        raise UsageError("--tune is for the target cpu", hint="Leave it out: on a GPU there are no cores to share")


def _serve(triton: "TritonSettings", manifest: "ModelManifest", repository: Path, *, jpeg: bool) -> str:
    """Make a reachable Triton load the models. Returns the line to print."""
    local = "`framematch stack up`, or " if has_local_stack() else ""
    how = f"Serve it with {local}`tritonserver --model-repository={repository}`."
    if triton.url is None:
        return how
    from framematch.model_build.reload import Reload, reload_models

    outcome = asyncio.run(reload_models(triton.url, manifest, jpeg=jpeg, key=triton.key))
    result = f"Triton at {triton.url} {outcome.value}."
    return result if outcome is Reload.LOADED else f"{result} {how}"
