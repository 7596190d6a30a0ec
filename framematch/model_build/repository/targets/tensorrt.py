"""Target `tensorrt`: the graphs, the configuration, and a script that builds TensorRT engines with trtexec.

An engine works with one TensorRT release and one kind of GPU, so it is built where it is served: in Triton's container.
The script builds the engine of each model of the repository that has a file of shapes.
"""

import os
import shlex
from pathlib import Path

from framematch.model_build.graphs.towers import Tower
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.triton_config import Serving, preferred_batch_sizes
from framematch.vision.manifest import ENGINE_SCRIPT

# The base image of deploy/docker/triton.Dockerfile: an engine runs only in the TensorRT version that built it.
CONTAINER = "nvcr.io/nvidia/tritonserver:26.06-py3"
SCRIPT = Path(__file__).with_name(ENGINE_SCRIPT)
SHAPES_FILE = "engine.shapes"
"""In a model's folder: trtexec's arguments for the sizes of batches, one on each line."""
ENGINE_FILE = "1/model.plan"
_ENGINE_FILES = (ENGINE_FILE, f"{ENGINE_FILE}.made-of", "trtexec.log")


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


def shapes_file(tower: Tower, options: BuildOptions) -> bytes:
    """The content of `SHAPES_FILE`."""
    return "".join(f"{argument}\n" for argument in shape_arguments(tower, options)).encode()


def keep_engine(old: Path, new: Path) -> None:
    """Link the engine of the model in the folder `old` into `new`, if both have the same graph and shapes."""
    made_from = ("1/model.onnx", SHAPES_FILE)
    if all((old / file).is_file() and (old / file).read_bytes() == (new / file).read_bytes() for file in made_from):
        for file in _ENGINE_FILES:
            if (old / file).is_file():
                os.link(old / file, new / file)


def next_step(repository: Path) -> str:
    """How to run the script."""
    return (
        f"Build the engines where they will be served, in Triton's container (--print shows the commands). Then run "
        f"`model build` again: it keeps them, and makes a running Triton load the model.\n"
        f'  docker run --rm --gpus all --user "$(id -u):$(id -g)" -v {shlex.quote(f"{repository}:/models")} '
        f"{CONTAINER} sh /models/{ENGINE_SCRIPT}"
    )


def _shapes(tower: Tower, batch_size: int) -> str:
    return ",".join(f"{item.name}:{'x'.join(str(size) for size in (batch_size, *item.dims))}" for item in tower.inputs)
