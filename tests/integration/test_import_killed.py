"""Imports that are killed at any moment, by SIGKILL: real processes, a real MongoDB server."""

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from framematch.catalog.mongo import Database
from framematch.catalog.products import ProductStore
from framematch.cli.exits import INTERRUPTED
from framematch.stack.mongodb import MongoServer
from tests.preloaded.process import PreloadedProcess, start
from tests.support import eventually
from tests.unit.catalog.snapshots import picture

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("untraced_processes")]

ROWS = 6_000
KILLS = 10
PICTURES = 8
BAD_ROWS = 3


@dataclass(frozen=True)
class Run:
    """How a process that imported has ended, and what became of the rows, if it came to its end."""

    code: int
    requests: int
    read: int
    added: int
    changed: int
    same: int
    merged: int
    refused: int


@contextmanager
def program(uri: str, database: Database, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    arguments = [uri, database.name, str(folder / "products.csv"), str(folder), str(folder / "refused")]
    command = [sys.executable, "-m", "tests.integration.import_program", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def run(process: "subprocess.Popen[str]", kill_before: int) -> Run:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{kill_before}\n")
    process.stdin.flush()
    return Run(*map(int, process.stdout.readline().split()))


@contextmanager
def started_import(
    environment: Mapping[str, str], file: Path, stderr: Path
) -> Iterator["subprocess.Popen[bytes] | PreloadedProcess"]:
    """The command, without a terminal; what it prints to stderr goes to a file."""
    with stderr.open("wb") as said, Path(os.devnull).open("r+") as nothing:
        process = start(
            "catalog", "import", str(file), environment=environment,
            stdin=nothing.fileno(), stdout=nothing.fileno(), stderr=said.fileno(),
        )  # fmt: skip
        with process:
            yield process


def write_catalogue(folder: Path, rows: int) -> None:
    for number in range(PICTURES):
        (folder / f"{number}.png").write_bytes(picture(number))
    lines = [f"p{number},Product {number},{number % PICTURES}.png\n" for number in range(rows)]
    lines[rows // 2] = "p-none,,0.png\n"
    lines[rows // 2 + 1] = 'p-quote,"Quote,0.png\n'
    lines[rows - 1] = "p-picture,Product,none.png\n"
    (folder / "products.csv").write_text("id,name,image\n" + "".join(lines))


async def test_of_6000_rows_none_is_lost_when_ten_imports_are_killed(
    mongodb: MongoServer, database: Database, tmp_path: Path
) -> None:
    write_catalogue(tmp_path, ROWS)
    store = ProductStore(database)
    good = ROWS - BAD_ROWS
    with program(mongodb.uri, database, tmp_path) as process:
        whole = run(process, 0)
        assert (whole.code, whole.read, whole.added, whole.refused) == (0, ROWS, good, BAD_ROWS)
        least_requests = run(process, 0).requests  # when all products are there
        generator = random.Random(0)  # noqa: S311  # the same moments in each run
        moments = [*generator.sample(range(2, least_requests), KILLS - 1), least_requests]
        for table in ("products", "images", "imports"):
            await database[table].delete_many({})
        for moment in moments:
            killed = run(process, moment)
            assert killed.code == -signal.SIGKILL
        stored = await store.count()
        last = run(process, 0)
    assert (last.code, last.read, last.refused) == (0, ROWS, BAD_ROWS)
    assert (last.added, last.changed, last.same, last.merged) == (good - stored, 0, stored, 0)
    assert await store.count() == good
    assert await database.imports.count_documents({}) == 0
    refused = (tmp_path / "refused" / "import_refused.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(refused) == 1 + BAD_ROWS


async def test_an_import_that_was_killed_goes_on_where_it_was(
    mongodb: MongoServer, database: Database, tmp_path: Path
) -> None:
    write_catalogue(tmp_path, 1_000)
    store = ProductStore(database)
    with program(mongodb.uri, database, tmp_path) as process:
        whole = run(process, 0)
        await database.products.delete_many({})
        assert run(process, whole.requests // 2).code == -signal.SIGKILL
        stored = await store.count()
        assert 0 < stored < whole.added
        assert (run(process, 0).same, await store.count()) == (stored, whole.added)


async def test_ctrl_c_says_how_far_the_import_came_and_the_same_command_goes_on(
    mongodb: MongoServer, database: Database, tmp_path: Path
) -> None:
    write_catalogue(tmp_path, 4 * ROWS)
    store = ProductStore(database)
    environment = {
        **os.environ,
        "MONGODB_URI": mongodb.uri,
        "FRAMEMATCH_MONGODB__DATABASE": database.name,
        "FRAMEMATCH_STATE_DIR": str(tmp_path),
    }

    async def has_begun() -> bool:
        return await store.count() > 0

    with started_import(environment, tmp_path / "products.csv", tmp_path / "stderr") as command:
        await eventually(has_begun)
        command.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(command.wait, 60)
    said = (tmp_path / "stderr").read_text()
    stored = await store.count()
    assert code == INTERRUPTED
    assert re.search(r"interrupted: \d+ of 24000 rows were imported. The same command goes on from there", said), said
    with program(mongodb.uri, database, tmp_path) as process:
        rest = run(process, 0)
    assert (rest.same, rest.added) == (stored, 4 * ROWS - BAD_ROWS - stored)
    assert stored < 4 * ROWS - BAD_ROWS
