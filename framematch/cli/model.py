"""`framematch model`: turn a model bundle into Triton's model repository."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from framematch.cli.common import needs, prepare_command

if TYPE_CHECKING:
    from framematch.vision.manifest import ModelManifest

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Build the models that Triton serves.")


@app.callback()
def _group() -> None:
    """Build the models that Triton serves."""


@app.command(epilog="Example: `framematch model build --from ~/clip-vit-base-patch32 --target cpu`")
def build(
    bundle: Annotated[
        Path, typer.Option("--from", help="Folder of a CLIP ONNX export: config.json, tokenizer.json, onnx/ …")
    ],
    target: Annotated[
        Literal["cpu"], typer.Option(help="What runs the graph: `cpu` is ONNX Runtime in Triton's python backend.")
    ] = "cpu",
    out: Annotated[Path, typer.Option(help="Triton's model repository.")] = Path("model_repository"),
    max_batch_size: Annotated[int, typer.Option(min=1, help="Pictures or texts in one run of the model.")] = 32,
) -> None:
    """Build `clip_image` and `clip_text` from a bundle, and have a running Triton load them.

    Rescaling, normalising and the unit length are folded into the graphs: Triton takes uint8 pixels and returns unit
    vectors. A model that is there already is replaced as a whole; an index built with another model is refused from
    then on, so build the catalogue's index again.
    """
    settings = prepare_command("model")
    with needs("model"):
        from framematch.vision.build_options import BuildOptions
        from framematch.vision.bundle import load_bundle
        from framematch.vision.model_repository import build_model_repository
    manifest = build_model_repository(load_bundle(bundle), out, BuildOptions(target, max_batch_size=max_batch_size))
    towers = "pictures" if manifest.context_length is None else "pictures and texts"
    typer.echo(f"Built {manifest.name}: {towers} to {manifest.dimension} dimensions, {manifest.precision}, {target}")
    typer.echo(f"  digest  {manifest.digest}")
    typer.echo(f"  folder  {out.resolve()}")
    typer.echo(_serve(settings.triton.url, manifest, out.resolve()))


def _serve(url: str | None, manifest: "ModelManifest", repository: Path) -> str:
    """Have a reachable Triton load the models; the line that says what became of it."""
    how = f"Serve it with `framematch stack up`, or `tritonserver --model-repository={repository}`."
    if url is None:
        return how
    with needs("consumer"):
        from framematch.vision.reload import Reload, reload_models
    outcome = asyncio.run(reload_models(url, manifest))
    said = f"Triton at {url} {outcome.value}."
    return said if outcome is Reload.LOADED else f"{said} {how}"
