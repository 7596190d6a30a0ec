"""Target `cpu`: ONNX Runtime in Triton's python backend."""

from pathlib import Path

from framematch.model_build.graphs.towers import Tower
from framematch.model_build.repository.build_options import BuildOptions, CpuPlan
from framematch.model_build.repository.triton_config import Serving

# Read by python_backend.py.
_THREADS_PARAMETER = "threads"
_SERVED_CODE = Path(__file__).with_name("python_backend.py")


def serving(options: BuildOptions) -> Serving:
    """The plan's instances and threads."""
    plan = options.cpu_plan or CpuPlan()
    return Serving(
        engine='backend: "python"',
        instances="# Each instance is a process with its own session. Together they should not have more threads than\n"
        "# there are cores.\n"
        f"instance_group [ {{ kind: KIND_CPU count: {plan.instances} }} ]",
        parameters={_THREADS_PARAMETER: str(plan.threads)},
    )


def model_files(tower: Tower) -> dict[str, bytes]:
    """The graph and the code that runs it, by path in the model's folder."""
    return {"1/model.onnx": tower.graph, "1/model.py": _SERVED_CODE.read_bytes()}
