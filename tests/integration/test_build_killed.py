"""Builds that are killed at any moment, and builds that run at the same time: real processes, a real MongoDB server."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from framematch.catalog.importing.importer import import_products
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.mongo import Database
from framematch.catalog.products import ProductStore
from framematch.catalog.snapshots.names import read_names
from framematch.catalog.snapshots.storage import SnapshotStorage, open_storage
from framematch.catalog.snapshots.store import load_manifest, load_snapshot
from framematch.stack.mongodb import MongoServer
from tests.unit.catalog.snapshots import picture

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("untraced_processes")]

PROGRAM = Path(__file__).with_name("build_program.py")
PRODUCTS = 24
KILLS = 10


@dataclass(frozen=True)
class Build:
    """How a process that built has ended, and what it did."""

    code: int
    requests: int
    new_pictures: int


@dataclass(frozen=True)
class Site:
    """A catalogue, and where its snapshots go."""

    uri: str
    database: Database
    storage: SnapshotStorage
    storage_url: str
    cache_dir: Path

    @contextmanager
    def program(self) -> Iterator["subprocess.Popen[str]"]:
        """The program that builds, inside the context."""
        arguments = [self.uri, self.database.name, self.storage_url, str(self.cache_dir)]
        command = [sys.executable, "-m", "tests.integration.build_program", *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    async def snapshots(self) -> set[str]:
        """The ids of the snapshots that can be found."""
        return {document["_id"] async for document in self.database.snapshots.find({}, {"_id": 1})}

    async def active(self) -> str:
        """The active snapshot, which a consumer with an empty cache can load."""
        active = (await read_names(self.database)).active
        assert active is not None
        empty_cache = self.cache_dir.with_name(f"cache-of-another-host-{active}")
        snapshot = await load_snapshot(self.database, self.storage, empty_cache, active)
        assert snapshot.manifest.products == PRODUCTS
        snapshot.index.close()
        return active

    async def leftovers(self) -> list[str]:
        """What belongs to no snapshot that can be found: leases, files in the storage, local folders."""
        known = await self.snapshots()
        leases = [str(document["_id"]) async for document in self.database.snapshot_leases.find({})]
        if self.storage_url:
            stored = _names(Path(self.storage_url))
        else:
            files = await self.database["snapshots.chunks"].distinct("files_id")
            stored = {str(name).partition("/")[0] for name in files}
        local = _names(self.cache_dir)
        return [*leases, *(stored - known), *(local - known)]


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


@pytest.fixture(params=["GridFS", "folder"])
async def site(request: pytest.FixtureRequest, database: Database, mongodb: MongoServer, tmp_path: Path) -> Site:
    for number in range(PRODUCTS):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    rows = [f"p{number},Product,{number}.png\n" for number in range(PRODUCTS)]
    (tmp_path / "products.csv").write_text("id,name,image\n" + "".join(rows))
    await import_products(tmp_path / "products.csv", ImportOptions(images=tmp_path), ProductStore(database))
    url = "" if request.param == "GridFS" else str(tmp_path / "storage")
    return Site(mongodb.uri, database, open_storage(url or None, database), url, tmp_path / "cache")


def ask(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def answer(process: "subprocess.Popen[str]") -> Build:
    assert process.stdout is not None
    return Build(*map(int, process.stdout.readline().split()))


def run(process: "subprocess.Popen[str]", line: str) -> Build:
    ask(process, line)
    return answer(process)


async def test_a_build_that_is_killed_at_any_moment_leaves_the_old_snapshot_and_the_next_one_cleans_up(
    site: Site,
) -> None:
    generator = random.Random(0)  # noqa: S311  # the same moments in each run
    with site.program() as process:
        assert run(process, "never").code == 0  # creates indexes
        await site.database.embeddings.delete_many({})
        requests = run(process, "never").requests
        for number in [*sorted(generator.sample(range(1, requests - 1), KILLS - 2)), requests - 1, requests]:
            old, before = await site.active(), set(await site.snapshots())
            await site.database.embeddings.delete_many({})
            assert run(process, f"{generator.choice(['before', 'after'])} {number}").code == -signal.SIGKILL
            assert await site.active() in {old, *await site.snapshots()} - (before - {old})
        before = set(await site.snapshots())
        assert run(process, "never").code == 0
    assert {await site.active()} == set(await site.snapshots()) - before
    assert await site.leftovers() == []
    for snapshot_id in await site.snapshots():
        assert (await load_manifest(site.database, snapshot_id)).products == PRODUCTS


async def test_a_build_that_was_killed_goes_on_where_it_was(site: Site) -> None:
    with site.program() as process:
        whole = run(process, "never")
        assert whole.new_pictures == PRODUCTS
        await site.database.embeddings.delete_many({})
        assert run(process, f"before {whole.requests // 2}").code == -signal.SIGKILL
        kept = await site.database.embeddings.count_documents({})
        assert 0 < kept < PRODUCTS
        assert run(process, "never").new_pictures == PRODUCTS - kept


async def test_two_builds_at_once_both_store_and_one_is_active(site: Site) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(site.program()) for _ in range(2)]
        for process in processes:
            ask(process, "never")
        codes = [answer(process).code for process in processes]
    # The names may have been changed at the same time: then one of them says so.
    assert sorted(codes) in ([0, 0], [0, 1])
    assert len(await site.snapshots()) == len(codes)
    assert await site.active() in await site.snapshots()
    assert await site.leftovers() == []
