"""Imports a file in a new process for each line of its input, and kills it where the line says.

Arguments: MongoDB's URI, the database, the file, the folder of its pictures and that of refused rows. A line is the
number of the request to MongoDB before which the process gets SIGKILL, or 0. The output is one line for each: the exit
code, negative for a signal, the number of requests, and the rows that were read, added, changed, same, merged, refused.
"""

import asyncio
import os
import signal
import sys
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import pymongo.monitoring

from framematch.catalog.importing.importer import import_products
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.mongo import connect
from framematch.catalog.products import ProductStore

Counter = Synchronized  # of processes


class Killer(pymongo.monitoring.CommandListener):
    """Counts requests, and kills this process before one of them."""

    def __init__(self, number: int, requests: "Counter[int]") -> None:
        self._number, self._requests = number, requests

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:  # noqa: ARG002  # of the interface
        self._requests.value += 1
        if self._requests.value == self._number:
            os.kill(os.getpid(), signal.SIGKILL)

    def succeeded(self, event: pymongo.monitoring.CommandSucceededEvent) -> None:
        """Requests are counted when they start."""

    def failed(self, event: pymongo.monitoring.CommandFailedEvent) -> None:
        """Requests are counted when they start."""


async def import_file(counts: "list[Counter[int]]") -> None:
    uri, database_name, file, images, refused = sys.argv[1:]
    options = ImportOptions(images=Path(images), refused_folder=Path(refused))
    async with await connect(uri) as client:
        report = await import_products(Path(file), options, ProductStore(client[database_name]))
    found = (report.read, report.added, report.changed, report.same, report.merged, report.refused)
    for count, number in zip(counts, found, strict=True):
        count.value = number


def run_import(number: int, requests: "Counter[int]", counts: "list[Counter[int]]") -> None:
    # Its log must not come between the lines of the output.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    pymongo.monitoring.register(Killer(number, requests))
    asyncio.run(import_file(counts))


def main() -> None:
    context = get_context("fork")  # without the time of imports; this process has no threads
    for line in sys.stdin:
        requests, counts = context.Value("i", 0), [context.Value("i", 0) for _ in range(6)]
        process = context.Process(target=run_import, args=(int(line), requests, counts))
        process.start()
        process.join()
        print(process.exitcode, requests.value, *(count.value for count in counts), flush=True)  # noqa: T201  # for the test


if __name__ == "__main__":
    main()
