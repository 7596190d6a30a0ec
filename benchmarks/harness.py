"""Compares two sides of one machine: measured in turns, so that a machine that slows down slows both, and in pairs."""

import argparse
import os
import platform
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OUTPUT_DIR = Path("build") / "benchmarks"
MIN_ROUNDS = 5  # fewer say nothing about the spread

Side = Callable[[], float]
"""Measures once, and gives a rate: higher is better."""


@dataclass(frozen=True)
class Figure:
    """A figure over all rounds: the median, the lowest and the highest."""

    median: float
    low: float
    high: float
    unit: str

    @classmethod
    def of(cls, values: Sequence[float], unit: str) -> "Figure":
        """The figure of `values`, one for each round.

        Raises:
            statistics.StatisticsError: there are no values.
        """
        return cls(statistics.median(values), min(values), max(values), unit)


@dataclass(frozen=True)
class Round:
    """What both sides did, one right after the other."""

    subject: float
    reference: float

    @property
    def ratio(self) -> float:
        """Of the subject to the reference of the same round."""
        return self.subject / self.reference


@dataclass(frozen=True)
class Machine:
    """Where figures were taken; they hold for it alone."""

    cpu: str
    cores: int
    memory_gib: float
    load_average_1m: float
    system: str
    python: str


@dataclass(frozen=True)
class Comparison:
    """All rounds of a subject and its reference. `goal` is the least ratio wanted, where there is one."""

    name: str
    subject: str
    reference: str
    unit: str
    rounds: tuple[Round, ...]
    goal: float | None = None

    @property
    def ratio(self) -> Figure:
        """Over the ratios of each round, not the ratio of two medians."""
        return Figure.of([r.ratio for r in self.rounds], "ratio")

    def figures(self) -> dict[str, Figure]:
        """The ratio under the comparison's own name, and the rates of both sides."""
        return {
            self.name: self.ratio,
            f"{self.name}.{self.subject}": Figure.of([r.subject for r in self.rounds], self.unit),
            f"{self.name}.{self.reference}": Figure.of([r.reference for r in self.rounds], self.unit),
        }


def alternate(
    subject: Side,
    reference: Side,
    *,
    rounds: int,
    on_round: Callable[[int, Round], None] = lambda _number, _round: None,
) -> tuple[Round, ...]:
    """Measure both sides `rounds` times, in the order AB BA AB …, so that a steady drift favours neither.

    `on_round` gets the number of the round, from 1, and its result.
    """
    found: list[Round] = []
    for number, rates in enumerate(take_turns({"subject": subject, "reference": reference}, rounds=rounds), 1):
        found.append(Round(**rates))
        on_round(number, found[-1])
    return tuple(found)


def take_turns(sides: Mapping[str, Side], *, rounds: int) -> Iterator[dict[str, float]]:
    """What each side gave, round by round; every other round goes through the sides backwards."""
    for number in range(rounds):
        names = list(sides)[:: 1 if number % 2 == 0 else -1]
        yield {name: sides[name]() for name in names}


def describe_machine() -> Machine:
    """This machine, and how busy it has been: a load above the number of cores makes figures worthless."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        cpu=_cpu_model(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(memory_bytes / 2**30, 1),
        load_average_1m=round(os.getloadavg()[0], 2),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
    )


def _cpu_model(cpuinfo: str) -> str:
    """The name in the text of /proc/cpuinfo; ARM's has none."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == "model name"), "unknown")


def argument_parser(name: str, description: str) -> argparse.ArgumentParser:
    """What every benchmark takes: `--quick --rounds --json --plot`."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--quick", action="store_true", help="end within 3 minutes on 2 cores")
    parser.add_argument("--rounds", type=_rounds, help=f"alternations, {MIN_ROUNDS} or more")
    for kind, ending in (("json", "json"), ("plot", "png")):
        path = OUTPUT_DIR / f"{name}.{ending}"
        parser.add_argument(f"--{kind}", type=Path, default=path, metavar="FILE", help=f"default: {path}")
    return parser


def _rounds(text: str) -> int:
    number = int(text)
    if number < MIN_ROUNDS:
        raise argparse.ArgumentTypeError(f"give {MIN_ROUNDS} or more")
    return number
