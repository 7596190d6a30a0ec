"""What every benchmark is made of: options, sides measured in turns, figures, and the results of a part."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

Side = Callable[[], float]
"""Measures once and returns a rate: higher is better."""

Rates = Sequence[Mapping[str, float]]
"""The rate of each side, by round."""


@dataclass(frozen=True)
class Options:
    """How to measure: the number of rounds, which are short when `quick`, and sizes, for what is measured at some."""

    quick: bool
    rounds: int
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Figure:
    """The median, lowest and highest value over all rounds."""

    median: float
    low: float
    high: float
    unit: str

    @classmethod
    def of(cls, values: Sequence[float], unit: str) -> Self:
        """The figure of `values`, one for each round and at least one."""
        return cls(statistics.median(values), min(values), max(values), unit)


@dataclass
class Results:
    """What parts found.

    `at_least` and `at_most` are goals for the median of a figure, and `within` names a value that must lie between its
    lowest and highest one. `missing` says why a part has no figures.
    """

    figures: dict[str, Figure] = field(default_factory=dict)
    at_least: dict[str, float] = field(default_factory=dict)
    at_most: dict[str, float] = field(default_factory=dict)
    within: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def compare(self, name: str, subject: str, reference: str, rates: Rates, unit: str = "frames/s") -> None:
        """Add the ratio of two sides as the figure `name`, and the rates of both.

        The ratio is taken in each round: a ratio of medians would mix rounds of a fast and a slow machine.
        """
        self.figures[name] = Figure.of([found[subject] / found[reference] for found in rates], "ratio")
        for side in (subject, reference):
            self.figures[f"{name}.{side}"] = Figure.of([found[side] for found in rates], unit)

    def merge(self, part: str, model: str, other: Self) -> None:
        """Add everything in `other`. Names of figures get the model's name as prefix, unless it is empty."""
        prefix = f"{model}." if model else ""
        self.figures |= {prefix + name: figure for name, figure in other.figures.items()}
        self.at_least |= {prefix + name: goal for name, goal in other.at_least.items()}
        self.at_most |= {prefix + name: goal for name, goal in other.at_most.items()}
        self.within |= {prefix + name: goal for name, goal in other.within.items()}
        self.missing |= {prefix + name: reason for name, reason in other.missing.items()}
        self.settings[prefix + part] = other.settings


def take_turns(name: str, sides: Mapping[str, Side], *, rounds: int, unit: str = "frames/s") -> Rates:
    """Measure all sides in each round, and print the rates of each.

    Every other round measures the sides in reverse order (AB BA AB ...), so that a steady drift favours neither.
    """
    found = []
    for number in range(rounds):
        order = list(sides)[:: 1 if number % 2 == 0 else -1]
        rates = {side: sides[side]() for side in order}
        found.append({side: rates[side] for side in sides})
        text = ", ".join(f"{side} {rate:.1f}" for side, rate in found[-1].items())
        print(f"{name}, round {number + 1} of {rounds}: {text} {unit}", flush=True)
    return found


def percentile(values: Sequence[float], percent: int) -> float:
    """The lowest of `values`, at least one, that `percent` % of them do not exceed; nothing is interpolated."""
    if not values:
        raise statistics.StatisticsError("no values")
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


def steady_rate(times_s: Sequence[float], *, warm_up: int) -> float:
    """Events a second after a warm-up of at least `warm_up` and less than twice as many events.

    Events come in bursts, one for each batch. A warm-up that ends within a burst would count the rest of the burst,
    which takes no time, so it ends at the longest pause in that range. `warm_up` should be at least one batch.

    Raises:
        ValueError: too few events are left to measure, `warm_up` is below 1, or no time went by.
    """
    ordered = sorted(times_s)
    if not 1 <= warm_up <= (len(ordered) - 1) // 2:
        raise ValueError(f"{len(ordered)} events leave too little to measure after a warm-up of {warm_up}")
    first = max(range(warm_up, 2 * warm_up), key=lambda number: ordered[number] - ordered[number - 1])
    elapsed_s = ordered[-1] - ordered[first - 1]
    if elapsed_s <= 0:
        raise ValueError("all events have the same time")
    return (len(ordered) - first) / elapsed_s
