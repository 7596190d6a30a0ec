"""How often decisions are right, and whether stated error rates hold: `python -m benchmarks.accuracy --dataset DIR`.

For a folder in the layout of GroceryStoreDataset, on a split that the encoder never saw. The bundle's own preprocessing
and graph, and the rules that consumers decide by, run in this process.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.accuracy import closed_set, open_set, sightings
from benchmarks.accuracy.dataset import read_dataset
from benchmarks.accuracy.embedding import BundleEncoder
from benchmarks.accuracy.pictures import encode_dataset
from benchmarks.cli import DEFAULT_FOLDER
from benchmarks.harness import Results
from benchmarks.report import describe_machine, publish
from demo.dataset import BUNDLE_DIR
from framematch.core.errors import FramematchError

PARTS = {"closed_set": closed_set.measure, "open_set": open_set.measure, "sightings": sightings.measure}


def main() -> int:
    """Run what the command line asks for; returns the exit code."""
    arguments = _parser().parse_args()
    machine = describe_machine()
    results = Results(settings={name: str(value) for name, value in vars(arguments).items()})
    try:
        data = encode_dataset(
            read_dataset(arguments.dataset),
            arguments.split,
            BundleEncoder(arguments.bundle),
            enrolled_split=arguments.enrolled_split,
            seed=arguments.seed,
            report=lambda what: print(what, flush=True),
        )
        for name in arguments.part or PARTS:
            results.merge(name, "", PARTS[name](data))
    except FramematchError as error:
        print(f"The benchmark failed: {error}", file=sys.stderr)
        return error.exit_code
    publish(results, name="accuracy", machine=machine, folder=arguments.out)
    errors = arguments.out / "accuracy-errors.png"
    open_set.plot(data, errors)
    print(f"Written: {errors}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    parser.add_argument("--split", default="val", help="the photos that are measured (default: %(default)s)")
    parser.add_argument(
        "--enrolled-split", default="train", metavar="NAME", help="the photos that are enrolled (default: %(default)s)"
    )
    parser.add_argument("--bundle", type=Path, default=BUNDLE_DIR, metavar="DIR", help="default: the demo's")
    parser.add_argument("--part", choices=PARTS, action="append", help="may be repeated; default: all")
    parser.add_argument("--seed", type=int, default=0, help="chooses the enrolled photos")
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, metavar="FOLDER", help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
