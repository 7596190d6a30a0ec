"""The targets of `framematch model build`: one module for each backend of Triton."""

from collections.abc import Mapping
from pathlib import Path

from framematch.model_build.graphs.towers import Tower
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.targets import cpu, onnx, tensorrt
from framematch.model_build.repository.targets.half import half_precision
from framematch.model_build.repository.triton_config import config_pbtxt
from framematch.vision.manifest import ENGINE_SCRIPT, ModelManifest

_TARGETS = {"cpu": cpu, "onnx": onnx, "tensorrt": tensorrt}
# Files of a target beside its models; a build for another target removes them.
REPOSITORY_FILES = (ENGINE_SCRIPT,)


def served_towers(towers: Mapping[str, Tower], options: BuildOptions) -> dict[str, Tower]:
    """`towers` in the precision of `options`. Towers for int8 are quantised already."""
    if options.served_precision == "fp16":
        return {name: half_precision(tower) for name, tower in towers.items()}
    return dict(towers)


def repository_files(towers: Mapping[str, Tower], manifest: ModelManifest, options: BuildOptions) -> dict[str, bytes]:
    """All files of Triton's model repository for `towers`, by their path in it."""
    target = _TARGETS[options.target]
    files: dict[str, bytes] = {}
    for name, tower in towers.items():
        config = config_pbtxt(name, tower.inputs, manifest, target.serving(options))
        files[f"{name}/config.pbtxt"] = config.encode()
        files |= {f"{name}/{path}": content for path, content in target.model_files(tower).items()}
    if options.target == "tensorrt":
        files[ENGINE_SCRIPT] = tensorrt.build_script(towers, options).encode()
    return files


def next_step(options: BuildOptions, repository: Path) -> str | None:
    """What the user must do before Triton can serve the models in `repository`; None when nothing."""
    return tensorrt.next_step(repository) if options.target == "tensorrt" else None
