"""Target `tensorrt`: the graphs, the configuration, and a script that builds TensorRT engines with trtexec.

An engine works with one TensorRT release and one kind of GPU, so it is built where it is served: in Triton's container.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path

from framematch.model_build.graphs.towers import Tower
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.triton_config import Serving, preferred_batch_sizes
from framematch.vision.manifest import ENGINE_SCRIPT

# The base image of deploy/docker/triton.Dockerfile: an engine runs only in the TensorRT version that built it.
CONTAINER = "nvcr.io/nvidia/tritonserver:26.06-py3"
_TEMPLATE = Path(__file__).with_name(ENGINE_SCRIPT)
_PLACE = "# ENGINES: `framematch model build` puts one call of `engine` for each model here.\n"


def serving(options: BuildOptions) -> Serving:
    """Two instances per GPU: one copies pixels while the other computes."""
    return Serving(
        engine=f'# ../{ENGINE_SCRIPT} builds 1/model.plan from 1/model.onnx.\nplatform: "tensorrt_plan"',
        instances="# Two on each GPU that Triton sees: one copies pixels while the other computes.\n"
        "instance_group [ { kind: KIND_GPU count: 2 } ]",
        warm_up_batch_sizes=sorted({1, *preferred_batch_sizes(options.max_batch_size)}),
    )


def shape_arguments(tower: Tower, options: BuildOptions) -> list[str]:
    """Trtexec's arguments for the smallest, the optimal and the largest batch."""
    sizes = {"min": 1, "opt": options.max_batch_size, "max": options.max_batch_size}
    return [f"--{key}Shapes={_shapes(tower, batch_size)}" for key, batch_size in sizes.items()]


def build_script(towers: Mapping[str, Tower], options: BuildOptions) -> str:
    """The shell script that builds the engine of each of `towers` (by model name)."""
    before, found, after = _TEMPLATE.read_text(encoding="utf-8").partition(_PLACE)
    if not found:
        raise ValueError(f"{_TEMPLATE} lacks the line for the engines")
    calls = [
        " \\\n    ".join(["engine " + shlex.quote(name), *map(shlex.quote, shape_arguments(tower, options))])
        for name, tower in towers.items()
    ]
    return before + "\n".join(calls) + "\n" + after


def next_step(repository: Path) -> str:
    """How to run the script."""
    return (
        f"Build the engines where they will be served, in Triton's container (--print shows the commands):\n"
        f'  docker run --rm --gpus all --user "$(id -u):$(id -g)" -v {shlex.quote(f"{repository}:/models")} '
        f"{CONTAINER} sh /models/{ENGINE_SCRIPT}"
    )


def _shapes(tower: Tower, batch_size: int) -> str:
    return ",".join(f"{item.name}:{'x'.join(str(size) for size in (batch_size, *item.dims))}" for item in tower.inputs)
