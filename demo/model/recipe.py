"""The parameters of a training run. Its result also depends on the data, `closing.py` and the libraries' versions."""

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Phase:
    """A part of the training with one picture size."""

    side_px: int
    steps: int


@dataclass(frozen=True)
class Recipe:
    """The defaults are those of the bundle in this repository."""

    phases: tuple[Phase, ...] = (Phase(64, 8500), Phase(96, 3500))
    batch: int = 96
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: int = 300
    average: float = 0.998  # decay of the running average of the weights
    hold_out: int = 0
    seed: int = 0

    @property
    def steps(self) -> int:
        """The steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    def side_px(self, step: int) -> int:
        """The picture size at `step`."""
        for phase in self.phases:
            if step < phase.steps:
                return phase.side_px
            step -= phase.steps
        return self.phases[-1].side_px

    def scaled(self, share: float) -> "Recipe":
        """The same recipe with `share` of the steps."""
        phases = tuple(Phase(phase.side_px, max(1, round(phase.steps * share))) for phase in self.phases)
        return replace(self, phases=phases)

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON decodes it."""
        return {**asdict(self), "phases": [asdict(phase) for phase in self.phases]}
