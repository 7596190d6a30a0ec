"""The command line of every benchmark: choose parts, run them on one set of servers, and report."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

from benchmarks.harness import Options, Results
from benchmarks.report import describe_machine, publish
from framematch.core.errors import FramematchError
from framematch.core.logging import configure_logging

DEFAULT_FOLDER = Path("build") / "benchmarks"
MIN_ROUNDS = 3
_QUICK_ROUNDS, _FULL_ROUNDS = 5, 9

SiteT = TypeVar("SiteT")


@dataclass(frozen=True)
class Part(Generic[SiteT]):
    """Measures something on a site, with each of `models` unless `--model` names others.

    `--quick` uses the first model only. Without `--part` it leaves out parts that are not `in_quick`.
    """

    measure: Callable[[SiteT, Options], Results]
    models: tuple[str, ...] = ("",)
    in_quick: bool = True


@dataclass(frozen=True)
class Benchmark(Generic[SiteT]):
    """Parts that share a site: servers with one of `models` (an empty name where there is none), in a folder.

    A benchmark with `rows` measures at several sizes; `--quick` leaves out the last.
    """

    name: str
    description: str
    parts: Mapping[str, Part[SiteT]]
    running_site: Callable[[Path, str], AbstractContextManager[SiteT]]
    models: tuple[str, ...] = ("",)
    rows: tuple[int, ...] = ()

    def main(self) -> int:
        """Run what the command line asks for; returns the exit code, which is 1 when something was not measured."""
        arguments = self._parser().parse_args()
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop everything that was started
        machine = describe_machine()
        # Servers are stopped on purpose; a failure that matters is the error of its part.
        configure_logging("critical", "console", service="benchmark")
        options = Options(
            arguments.quick,
            arguments.rounds or (_QUICK_ROUNDS if arguments.quick else _FULL_ROUNDS),
            tuple(getattr(arguments, "rows", None) or self.rows[: -1 if arguments.quick else None]),
        )
        results = Results(settings=asdict(options))
        try:
            self._run(arguments, options, results)
        except FramematchError as error:
            print(f"The benchmark failed: {error}", file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            return 130
        publish(results, name=self.name, machine=machine, folder=arguments.out)
        return 1 if results.missing else 0

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}", description=self.description)
        several = "may be repeated; default: all, fewer with --quick"
        parser.add_argument("--part", choices=self.parts, action="append", help=several)
        if any(self.models):
            parser.add_argument("--model", choices=self.models, action="append", help=several)
        if self.rows:
            parser.add_argument("--rows", type=int, action="append", help=several)
        parser.add_argument("--quick", action="store_true", help="take about 3 minutes on 2 cores")
        parser.add_argument("--rounds", type=_rounds, help=f"{MIN_ROUNDS} or more")
        parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, metavar="FOLDER", help="default: %(default)s")
        return parser

    def _run(self, arguments: argparse.Namespace, options: Options, results: Results) -> None:
        default = [name for name, part in self.parts.items() if part.in_quick or not options.quick]
        models = {
            name: getattr(arguments, "model", None) or self.parts[name].models[: 1 if options.quick else None]
            for name in arguments.part or default
        }
        for model in self.models:
            if names := [name for name in models if model in models[name]]:
                with (
                    tempfile.TemporaryDirectory(prefix="framematch-benchmark-") as folder,
                    self.running_site(Path(folder), model) as site,
                ):
                    for name in names:
                        self._measure(name, model, site, options, results)

    def _measure(self, name: str, model: str, site: SiteT, options: Options, results: Results) -> None:
        """Add what one part finds; when it fails, the reason is listed among what is missing."""
        title = f"{name}, {model}" if model else name
        print(f"\n{title}", flush=True)
        try:
            results.merge(name, model, self.parts[name].measure(site, options))
        except FramematchError as error:
            print(f"{title} failed: {error}", file=sys.stderr)
            results.missing[title] = error.message


def _rounds(text: str) -> int:
    number = int(text)
    if number < MIN_ROUNDS:
        raise argparse.ArgumentTypeError(f"must be {MIN_ROUNDS} or more")
    return number
