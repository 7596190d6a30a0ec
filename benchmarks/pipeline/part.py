"""What a part of the pipeline's benchmark hands back: results, and pictures of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from matplotlib.axes import Axes

from benchmarks.results import Results


@dataclass(frozen=True)
class Measured:
    """Results, and what draws them, each into axes of its own."""

    results: Results
    panels: list[Callable[[Axes], None]] = field(default_factory=list)
