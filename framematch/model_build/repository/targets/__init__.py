"""The targets of `framematch model build`."""

from collections.abc import Mapping
from pathlib import Path

from framematch.model_build.graphs.towers import Tower
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.targets import tensorrt
from framematch.model_build.repository.targets.half import half_precision
from framematch.model_build.repository.targets.jpeg import jpeg_files
from framematch.model_build.repository.targets.onnxruntime import SERVED_CODE, serve_on_cpu, serve_on_gpu
from framematch.model_build.repository.triton_config import config_pbtxt
from framematch.vision.manifest import ENGINE_SCRIPT, IMAGE_MODEL, TEXT_MODEL, ModelManifest, served_name

_SERVINGS = {"cpu": serve_on_cpu, "onnx": serve_on_gpu, "tensorrt": tensorrt.serving}


def served_towers(towers: Mapping[str, Tower], options: BuildOptions) -> dict[str, Tower]:
    """`towers` in the precision of `options`. Towers for int8 are quantised already."""
    if options.served_precision == "fp16":
        return {name: half_precision(tower) for name, tower in towers.items()}
    return dict(towers)


def repository_files(
    towers: Mapping[str, Tower],
    manifest: ModelManifest,
    options: BuildOptions,
    parameters: Mapping[str, Mapping[str, str]],
) -> dict[str, bytes]:
    """What a build adds to Triton's model repository for `towers`: files by their path in it.

    `parameters` are those of each tower's configuration, beside the manifest and the target's own.
    """
    serving = _SERVINGS[options.target](options)
    files: dict[str, bytes] = {}
    for tower_name, tower in towers.items():
        name = served_name(tower_name, manifest.digest)
        config = config_pbtxt(name, tower.inputs, manifest, serving, parameters[tower_name])
        files[f"{name}/config.pbtxt"] = config.encode()
        files[f"{name}/1/model.onnx"] = tower.graph
        if options.target == "cpu":
            files[f"{name}/1/model.py"] = SERVED_CODE.read_bytes()
        if options.target == "tensorrt":
            files[f"{name}/{tensorrt.SHAPES_FILE}"] = tensorrt.shapes_file(tower, options)
    if options.jpeg is not None:
        files |= jpeg_files(manifest, options.jpeg, options.jpeg_max_pixels)
    if options.target == "tensorrt":
        files[ENGINE_SCRIPT] = tensorrt.SCRIPT.read_bytes()
    return files


def keep_engines(repository: Path, staging: Path) -> None:
    """Give the models in `staging` the engines of their earlier builds in `repository`, if the graphs are equal."""
    for model in staging.glob(f"*/{tensorrt.SHAPES_FILE}"):
        tensorrt.keep_engine(repository / model.parent.name, model.parent)


def remove_unused_files(repository: Path) -> None:
    """Remove what no model of `repository` needs any more: the script that builds engines."""
    if not any(repository.glob(f"*/{tensorrt.SHAPES_FILE}")):
        (repository / ENGINE_SCRIPT).unlink(missing_ok=True)


def next_step(manifest: ModelManifest, repository: Path) -> str | None:
    """What the user must do before Triton can serve the model of `manifest` in `repository`; None when nothing."""
    if manifest.target != "tensorrt":
        return None
    folders = [repository / served_name(tower, manifest.digest) for tower in (IMAGE_MODEL, TEXT_MODEL)]
    missing = any(folder.is_dir() and not (folder / tensorrt.ENGINE_FILE).is_file() for folder in folders)
    return tensorrt.next_step(repository) if missing else None
