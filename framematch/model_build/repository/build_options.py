"""The options of a build: target, precision, batch sizes, instances and threads."""

from dataclasses import dataclass
from typing import Literal

from framematch.core.errors import ModelError
from framematch.vision.manifest import Precision, Target

JpegStep = Literal["fast", "exact", "gpu"]
"""How a served model decodes and prepares JPEGs: as clients with this variant, or, `gpu`, with nvJPEG before `fast`."""

_PRECISIONS: dict[Target, tuple[Precision, ...]] = {
    "cpu": ("fp32", "int8"),
    "onnx": ("fp32", "fp16"),
    "tensorrt": ("fp16", "fp32"),
}


@dataclass(frozen=True)
class CpuPlan:
    """How the model uses a CPU: the number of instances, and the threads of each.

    `threads` 0 divides the cores that Triton may use when it loads the model among the instances. The default is one
    instance: on two cores, two busy ones made 1.1 to 1.3 times the images/s, but a single batch takes twice as long and
    each instance has a copy of the weights.
    """

    instances: int = 1
    threads: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.instances < 1 or self.threads < 0:
            raise ValueError(f"not a plan for a CPU: {self}")


@dataclass(frozen=True)
class BuildOptions:
    """The options of `build_model_repository`.

    `precision` None means the target's default: fp16 for `tensorrt`, else fp32. `cpu_plan` None means one instance that
    uses all cores. A TensorRT engine is tuned for `max_batch_size`. With `jpeg` Triton also serves the model with a
    step that decodes JPEGs and prepares them; it refuses pictures of more than `jpeg_max_pixels`.
    """

    target: Target = "cpu"
    precision: Precision | None = None
    max_batch_size: int = 32
    cpu_plan: CpuPlan | None = None
    jpeg: JpegStep | None = None
    jpeg_max_pixels: int = 50_000_000

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ModelError: the target cannot run that precision.
            ValueError: `max_batch_size` is below 1.
        """
        if self.max_batch_size < 1:
            raise ValueError(f"max_batch_size must be at least 1, got {self.max_batch_size}")
        known = _PRECISIONS[self.target]
        if self.served_precision not in known:
            raise ModelError(
                f"the target {self.target} does not run {self.precision}",
                hint=f"Choose {' or '.join(known)}, or another target",
            )

    @property
    def served_precision(self) -> Precision:
        """`precision`, or the target's default."""
        return self.precision or _PRECISIONS[self.target][0]
