"""A run of the edge that puts frames until it is killed: `python -m tests.integration.edge_outbox_life`.

Arguments: bootstrap servers, spool folder, topic prefix. It prints a line after each frame of all cameras.
"""

import asyncio
import sys
from pathlib import Path

from tests.integration.test_edge_outbox import Edge


async def run_edge(broker: str, folder: Path, prefix: str) -> None:
    edge = Edge(broker, folder, prefix)
    async with asyncio.TaskGroup() as group:
        group.create_task(edge.dispatcher.run())
        while True:
            await edge.put(1)
            print("put", flush=True)  # noqa: T201  # the test reads it


if __name__ == "__main__":
    asyncio.run(run_edge(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
