"""Target `onnx`: Triton's own onnxruntime backend on a GPU, with ONNX Runtime's CUDA provider."""

from framematch.model_build.graphs.towers import Tower
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.triton_config import Serving, preferred_batch_sizes

_HEURISTIC = "1"


def serving(options: BuildOptions) -> Serving:
    """One session on each GPU."""
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


def model_files(tower: Tower) -> dict[str, bytes]:
    """The graph, by path in the model's folder."""
    return {"1/model.onnx": tower.graph}
