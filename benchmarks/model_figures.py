"""The figures of the model's benchmark, and their names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.harness import Comparison, Figure, Round
from benchmarks.preprocessing import USUAL_SIZE, Way

# What the plain name `served_vs_onnxruntime` stands for, and the least ratio wanted there.
MAIN_MODEL, MAIN_BATCH, GOAL = "b32", 32, 0.9


@dataclass(frozen=True)
class Case:
    """One model and size of batch; each round has images/s by side (`served_fp32`, `onnxruntime_int8`, ...)."""

    model: str
    batch_size: int
    rounds: Sequence[Mapping[str, float]]

    def rate(self, side: str) -> Figure:
        """Images/s of one side."""
        return Figure.of([rates[side] for rates in self.rounds], "images/s")

    def served_vs_onnxruntime(self, precision: str) -> Comparison:
        """The served model against ONNX Runtime alone."""
        main = self._is_main and precision == "fp32"
        name = "served_vs_onnxruntime" + ("" if main else f"_{self.model}_{precision}_batch_{self.batch_size}")
        sides = (f"served_{precision}", f"onnxruntime_{precision}")
        return self._compare(name, *sides, goal=GOAL if main else None)

    def int8_vs_fp32(self) -> Comparison:
        """How much faster int8 is, as served."""
        name = "int8_vs_fp32" + ("" if self._is_main else f"_{self.model}_batch_{self.batch_size}")
        return self._compare(name, "served_int8", "served_fp32")

    @property
    def _is_main(self) -> bool:
        return (self.model, self.batch_size) == (MAIN_MODEL, MAIN_BATCH)

    def _compare(self, name: str, subject: str, reference: str, goal: float | None = None) -> Comparison:
        rounds = tuple(Round(rates[subject], rates[reference]) for rates in self.rounds)
        return Comparison(name, subject, reference, "images/s", rounds, goal)


@dataclass(frozen=True)
class Results:
    """What one model gave: cosines of int8 to fp32, and the seconds of loading by precision."""

    model: str
    cases: Sequence[Case]
    int8_cosines: Figure
    load_s: Mapping[str, Figure]

    def comparisons(self) -> Iterator[Comparison]:
        """Of every case."""
        for case in self.cases:
            yield case.served_vs_onnxruntime("fp32")
            yield case.served_vs_onnxruntime("int8")
            yield case.int8_vs_fp32()

    def figures(self) -> dict[str, Figure]:
        """The comparisons' and all others; names without a model are those of the main one."""
        found = {name: figure for item in self.comparisons() for name, figure in item.figures().items()}
        of_model = "" if self.model == MAIN_MODEL else f"_{self.model}"
        found[f"int8_vs_fp32_cosine{of_model}"] = self.int8_cosines
        for precision, figure in self.load_s.items():
            found[f"model_load_s{of_model}" + ("" if precision == "fp32" else f"_{precision}")] = figure
        return found


def preprocessing_figures(ways: Sequence[Way]) -> dict[str, Figure]:
    """`preprocess_WAY_ms` for the usual size, `preprocess_WAY_ms.SIZE` for each, and `preprocess_WAY_cosine`."""
    found: dict[str, Figure] = {}
    for way in ways:
        name = f"preprocess_{way.name.replace(',', '').replace(' ', '_')}"
        found[f"{name}_ms"] = way.cost_ms[USUAL_SIZE]
        found |= {f"{name}_ms.{width}x{height}": cost for (width, height), cost in way.cost_ms.items()}
        found[f"{name}_cosine"] = Figure.of([way.cosine], "cosine")
    return found
