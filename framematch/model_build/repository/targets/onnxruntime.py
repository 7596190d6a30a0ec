"""The targets `cpu` and `onnx`: ONNX Runtime in Triton's python backend, or in its own backend on a GPU."""

from pathlib import Path

from framematch.model_build.repository.build_options import BuildOptions, CpuPlan
from framematch.model_build.repository.triton_config import Serving, preferred_batch_sizes

# Read by python_backend.py.
_THREADS_PARAMETER = "threads"
SERVED_CODE = Path(__file__).with_name("python_backend.py")
_HEURISTIC = "1"


def serve_on_cpu(options: BuildOptions) -> Serving:
    """The plan's instances and threads."""
    plan = options.cpu_plan or CpuPlan()
    return Serving(
        engine='backend: "python"',
        instances="# Each instance is a process with its own session. Together they should not have more threads than\n"
        "# there are cores.\n"
        f"instance_group [ {{ kind: KIND_CPU count: {plan.instances} }} ]",
        parameters={_THREADS_PARAMETER: str(plan.threads)},
    )


def serve_on_gpu(options: BuildOptions) -> Serving:
    """One session on each GPU, with ONNX Runtime's CUDA provider."""
    return Serving(
        engine='backend: "onnxruntime"',
        instances="# One session on each GPU that Triton sees; a second one would load the weights again.\n"
        "instance_group [ { kind: KIND_GPU count: 1 } ]",
        # By default cuDNN measures all algorithms again for each new batch size. The backend's documentation calls the
        # parameter deprecated. But the backend overwrites the accelerator's option with the default whenever a model
        # has parameters, and ours has the manifest.
        parameters={"cudnn_conv_algo_search": _HEURISTIC},
        warm_up_batch_sizes=sorted({1, *preferred_batch_sizes(options.max_batch_size)}),
    )
