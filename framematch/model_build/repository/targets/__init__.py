"""The targets of `framematch model build`."""

from collections.abc import Mapping
from pathlib import Path

from framematch.model_build.graphs.towers import Tower
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.targets import tensorrt
from framematch.model_build.repository.targets.half import half_precision
from framematch.model_build.repository.targets.onnxruntime import SERVED_CODE, serve_on_cpu, serve_on_gpu
from framematch.model_build.repository.triton_config import config_pbtxt
from framematch.vision.manifest import ENGINE_SCRIPT, ModelManifest

_SERVINGS = {"cpu": serve_on_cpu, "onnx": serve_on_gpu, "tensorrt": tensorrt.serving}
# Files of a target beside its models; a build for another target removes them.
REPOSITORY_FILES = (ENGINE_SCRIPT,)


def served_towers(towers: Mapping[str, Tower], options: BuildOptions) -> dict[str, Tower]:
    """`towers` in the precision of `options`. Towers for int8 are quantised already."""
    if options.served_precision == "fp16":
        return {name: half_precision(tower) for name, tower in towers.items()}
    return dict(towers)


def repository_files(towers: Mapping[str, Tower], manifest: ModelManifest, options: BuildOptions) -> dict[str, bytes]:
    """All files of Triton's model repository for `towers`, by their path in it."""
    serving = _SERVINGS[options.target](options)
    files: dict[str, bytes] = {}
    for name, tower in towers.items():
        files[f"{name}/config.pbtxt"] = config_pbtxt(name, tower.inputs, manifest, serving).encode()
        files[f"{name}/1/model.onnx"] = tower.graph
        if options.target == "cpu":
            files[f"{name}/1/model.py"] = SERVED_CODE.read_bytes()
    if options.target == "tensorrt":
        files[ENGINE_SCRIPT] = tensorrt.build_script(towers, options).encode()
    return files


def next_step(options: BuildOptions, repository: Path) -> str | None:
    """What the user must do before Triton can serve the models in `repository`; None when nothing."""
    return tensorrt.next_step(repository) if options.target == "tensorrt" else None
