"""Activates a snapshot, and waits between reading and writing the names.

`python -m tests.integration.activation_program URI DATABASE SNAPSHOT` writes a line to stdout when it has read the
names, and goes on when it reads one from stdin.
"""

import asyncio
import sys

from framematch.catalog.mongo import connect
from framematch.catalog.operations.activation import change_names
from framematch.catalog.snapshots.names import SnapshotNames


async def run(uri: str, database: str, snapshot_id: str) -> None:
    """Change the names."""

    def change(names: SnapshotNames) -> SnapshotNames:
        sys.stdout.write("read\n")
        sys.stdout.flush()
        sys.stdin.readline()
        return names.with_active(snapshot_id)

    async with await connect(uri) as client:
        await change_names(client[database], change)


asyncio.run(run(*sys.argv[1:]))
