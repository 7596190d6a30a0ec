"""Builds and activates a snapshot in a new process for each line of its input, and kills it where the line says.

Arguments: MongoDB's URI, the database, the URL of the storage (empty: GridFS), the folder of fetched snapshots. A line
is `never`, `before N` or `after N`: the process gets SIGKILL before its N-th request to MongoDB is sent, or after the
answer. The output is one line for each: the exit code, negative for a signal, and the numbers of requests and of
pictures that were embedded.
"""

import asyncio
import os
import signal
import sys
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import pymongo.monitoring

from framematch.catalog.building.build import BuildOptions, BuildReport
from framematch.catalog.building.stored_build import Builder, activate_built, active_snapshot
from framematch.catalog.mongo import connect
from framematch.catalog.products import ProductStore
from framematch.catalog.snapshots.storage import open_storage
from framematch.vision.preprocess import Preprocessor
from tests.unit.catalog.snapshots import SPEC, ColourEncoder

Counter = Synchronized  # of processes


class Killer(pymongo.monitoring.CommandListener):
    """Counts requests, and kills this process at one of them."""

    def __init__(self, moment: str, number: int, requests: "Counter[int]") -> None:
        self._moment, self._number = moment, number
        self._requests, self._answers = requests, 0

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:  # noqa: ARG002  # of the interface
        self._requests.value += 1
        self._kill_at("before", self._requests.value)

    def succeeded(self, event: pymongo.monitoring.CommandSucceededEvent) -> None:  # noqa: ARG002  # of the interface
        self._answers += 1
        self._kill_at("after", self._answers)

    def failed(self, event: pymongo.monitoring.CommandFailedEvent) -> None:
        """An error is no answer."""

    def _kill_at(self, moment: str, number: int) -> None:
        if (moment, number) == (self._moment, self._number):
            os.kill(os.getpid(), signal.SIGKILL)


async def build(new_pictures: "Counter[int]") -> None:
    uri, database_name, storage_url, cache_dir = sys.argv[1:]
    async with await connect(uri) as client:
        database, report = client[database_name], BuildReport()
        builder = Builder(ProductStore(database), open_storage(storage_url or None, database), Path(cache_dir))
        active_before = await active_snapshot(database)
        preprocessor = Preprocessor(SPEC, "fast")
        manifest = await builder.build(ColourEncoder(), preprocessor, BuildOptions(), report=report)
        await activate_built(database, manifest, active_before)
        new_pictures.value = report.new_pictures


def run_build(moment: str, number: int, requests: "Counter[int]", new_pictures: "Counter[int]") -> None:
    # Its log must not come between the lines of the output.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    pymongo.monitoring.register(Killer(moment, number, requests))
    asyncio.run(build(new_pictures))


def main() -> None:
    context = get_context("fork")  # without the time of imports; this process has no threads
    for line in sys.stdin:
        moment, _, number = line.strip().partition(" ")
        requests, new_pictures = context.Value("i", 0), context.Value("i", 0)
        process = context.Process(target=run_build, args=(moment, int(number or 0), requests, new_pictures))
        process.start()
        process.join()
        print(process.exitcode, requests.value, new_pictures.value, flush=True)  # noqa: T201  # the test reads it


if __name__ == "__main__":
    main()
