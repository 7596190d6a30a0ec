"""The command line of every benchmark: choose parts, run them on one set of servers, and report."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from benchmarks.harness import Options, Results
from benchmarks.report import describe_machine, publish
from framematch.core.errors import FramematchError
from framematch.core.logging import configure_logging

DEFAULT_FOLDER = Path("build") / "benchmarks"
MIN_ROUNDS = 3
_FULL_ROUNDS = 9
_NO_MODEL = ("",)

SiteT = TypeVar("SiteT")


@dataclass(frozen=True)
class Part(Generic[SiteT]):
    """Measures something on a site.

    `models` and `quick_models` are measured unless `--model` names others. Figures of the first of `models` have plain
    names, those of others end in the model's name. Without `--part`, `--quick` runs only parts with `in_quick`.
    """

    measure: Callable[[SiteT, Options], Results]
    models: tuple[str, ...] = _NO_MODEL
    quick_models: tuple[str, ...] = _NO_MODEL
    in_quick: bool = True

    def options(self, model: str, *, quick: bool, rounds: int) -> Options:
        """What to measure with this model."""
        suffix = "" if model == self.models[0] else f"_{model.replace('-', '_')}"
        return Options(quick, rounds, suffix)


@dataclass(frozen=True)
class Benchmark(Generic[SiteT]):
    """Parts that share a site: servers with one model (an empty name where there are none), in a folder."""

    name: str
    description: str
    parts: Mapping[str, Part[SiteT]]
    running_site: Callable[[Path, str], AbstractContextManager[SiteT]]
    models: tuple[str, ...] = _NO_MODEL
    quick_rounds: int = 5

    def main(self) -> int:
        """Run what the command line asks for; returns the exit code, which is 1 when something was not measured."""
        arguments = self._parser().parse_args()
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop everything that was started
        machine = describe_machine()
        # Servers are stopped on purpose; a failure that matters is the error of its part.
        configure_logging("critical", "console", service="benchmark")
        rounds = arguments.rounds or (self.quick_rounds if arguments.quick else _FULL_ROUNDS)
        results = Results(settings={"quick": arguments.quick, "rounds": rounds})
        try:
            self._run(arguments, rounds, results)
        except FramematchError as error:
            print(f"The benchmark failed: {error}", file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            return 130
        publish(results, name=self.name, machine=machine, folder=arguments.out)
        return 1 if results.missing else 0

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}", description=self.description)
        parser.add_argument(
            "--part",
            choices=self.parts,
            action="append",
            help="may be repeated; default: all, some of them with --quick",
        )
        if self.models != _NO_MODEL:
            parser.add_argument("--model", choices=self.models, action="append", help="may be repeated")
        parser.add_argument("--quick", action="store_true", help="take about 3 minutes on 2 cores")
        parser.add_argument("--rounds", type=_rounds, help=f"{MIN_ROUNDS} or more")
        parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, metavar="FOLDER", help="default: %(default)s")
        return parser

    def _run(self, arguments: argparse.Namespace, rounds: int, results: Results) -> None:
        quick = arguments.quick
        names = arguments.part or [name for name, part in self.parts.items() if part.in_quick or not quick]
        chosen = {
            name: getattr(arguments, "model", None) or (part.quick_models if quick else part.models)
            for name, part in self.parts.items()
            if name in names
        }
        for model in self.models:
            if parts := [name for name, models in chosen.items() if model in models]:
                with (
                    tempfile.TemporaryDirectory(prefix="framematch-benchmark-") as folder,
                    self.running_site(Path(folder), model) as site,
                ):
                    for name in parts:
                        self.measure(name, model, site, results, quick=quick, rounds=rounds)

    def measure(self, name: str, model: str, site: SiteT, results: Results, *, quick: bool, rounds: int) -> None:
        """Run one part and add what it found; when it fails, the reason is listed among what is missing."""
        title = f"{name}, {model}" if model else name
        print(f"\n{title}", flush=True)
        part = self.parts[name]
        try:
            results.merge(title, part.measure(site, part.options(model, quick=quick, rounds=rounds)))
        except FramematchError as error:
            print(f"{title} failed: {error}", file=sys.stderr)
            results.missing[title] = error.message


def _rounds(text: str) -> int:
    number = int(text)
    if number < MIN_ROUNDS:
        raise argparse.ArgumentTypeError(f"give {MIN_ROUNDS} or more")
    return number
