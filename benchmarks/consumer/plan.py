"""How much the consumer's benchmark measures, quickly or in full."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """`rounds` in which all sides take turns; a run takes about `run_s` at the bare model's rate, within bounds."""

    rounds: int
    run_s: float
    most_batches: int
    least_batches: int = 12  # fewer leave too little to measure after the warm-up
    cameras: int = 12  # as many as the topic has partitions
    ending: str = ""  # of the figures' names, when the model is not the one that the plain names are of

    def batches_for(self, batches_per_s: float) -> int:
        """How many batches a run has."""
        return max(self.least_batches, min(round(self.run_s * batches_per_s), self.most_batches))

    def named(self, figure: str) -> str:
        """The figure's name with the model."""
        return f"{figure}{self.ending}"

    def settings(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


QUICK = Plan(rounds=5, run_s=5, most_batches=75)
FULL = Plan(rounds=9, run_s=15, most_batches=400)
