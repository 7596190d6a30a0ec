"""Changes products, each in a process of its own that kills itself before a given request to MongoDB.

Its input has a line for each change: the number of the request, 0 for none, the product, and its pictures; without any
it is removed. Its output has the exit status of each process.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pymongo import monitoring

from framematch.catalog.mongo import connect
from tests.integration.product_site import ProductSite


class KillBefore(monitoring.CommandListener):
    """Kills this process when it is about to send the request with this number."""

    def __init__(self, number: int) -> None:
        self._left = number

    def started(self, _event: monitoring.CommandStartedEvent) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def succeeded(self, _event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, _event: monitoring.CommandFailedEvent) -> None:
        """Nothing to do."""


async def change(uri: str, database: str, product_id: str, pictures: Sequence[str]) -> None:
    async with await connect(uri) as client:
        site = ProductSite(client[database], Path())  # it builds nothing
        if pictures:
            await site.put(product_id, *map(int, pictures))
        else:
            await site.changes.remove(product_id)


def main() -> None:
    uri, database = sys.argv[1:]
    for line in sys.stdin:
        number, product_id, *pictures = line.split()
        child = os.fork()
        if not child:
            monitoring.register(KillBefore(int(number)))
            asyncio.run(change(uri, database, product_id, pictures))
            sys.stdout.flush()
            os._exit(0)
        print(os.waitpid(child, 0)[1], flush=True)  # noqa: T201  # the answer to the test


if __name__ == "__main__":
    main()
