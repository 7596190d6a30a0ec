"""`framematch catalog snapshots`, `show`, `diff`, `activate`, … with a real MongoDB server."""

import asyncio
import gc
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from demo.dataset import BUNDLE_DIR
from framematch.catalog.changes.delta import DELTA_ROWS_MAX
from framematch.catalog.mongo import Database, connect
from framematch.catalog.operations.activation import activate, change_names
from framematch.catalog.snapshots.names import SnapshotNames, read_names
from framematch.catalog.snapshots.serving_status import RefusedSnapshot, ServingStatus, remove_status, write_status
from framematch.catalog.snapshots.storage_gridfs import GridFsStorage
from framematch.catalog.snapshots.store import save_snapshot
from framematch.cli.catalog import app
from framematch.core.errors import CatalogError, FramematchError, MongoUnavailableError, StaleNamesError, UsageError
from framematch.core.paths import state_dir
from framematch.matching.shadow.store import write_counts
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.mongodb import MongoServer
from framematch.stack.triton import TritonServer
from framematch.vision.served_models import list_served_models
from tests.conftest import running
from tests.integration.commands import framematch
from tests.support import eventually
from tests.unit.catalog.snapshots import unit_rows, write_snapshot
from tests.unit.matching.shadow_samples import report_of

pytestmark = pytest.mark.integration

OLD, NEW, THIRD = "20260101T000000Z-aaaa", "20260102T000000Z-bbbb", "20260102T000000Z-cccc"
STATUS = ServingStatus("one", "host-1", 7, "consumer", OLD, 0, None, 1)


@dataclass
class Site:
    """A database with three snapshots, of which OLD is active, and the commands that use it."""

    database: Database
    uri: str

    async def run(self, *arguments: str) -> Result:
        """Run `framematch catalog …`."""
        return await asyncio.to_thread(CliRunner().invoke, app, arguments)

    async def output(self, *arguments: str) -> str:
        """What a command prints that succeeds."""
        result = await self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    async def refusal(self, *arguments: str) -> FramematchError:
        """Why a command is refused; the names must be as before."""
        before = await self.database.meta.find_one({"_id": "snapshot_names"})
        result = await self.run(*arguments)
        assert isinstance(result.exception, FramematchError), result.output
        assert result.exception.hint
        assert await self.database.meta.find_one({"_id": "snapshot_names"}) == before
        return result.exception

    async def names(self) -> tuple[str | None, str | None, str | None]:
        names = await read_names(self.database)
        return names.active, names.previous, names.shadow


async def store(database: Database, folder: Path, snapshot_id: str, *products: str) -> None:
    """Store a snapshot with a view for each of these products."""
    folder = folder / snapshot_id
    folder.mkdir(parents=True)
    manifest = write_snapshot(folder, unit_rows(len(products)), products)
    created_at = f"2026-01-0{snapshot_id[7]}T00:00:00.00000{snapshot_id[-1] == 'c':d}Z"
    await save_snapshot(
        database, GridFsStorage(database), replace(manifest, id=snapshot_id, created_at=created_at), folder
    )


@pytest.fixture
async def site(database: Database, mongodb: MongoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("MONGODB_URI", mongodb.uri)
    monkeypatch.setenv("FRAMEMATCH_MONGODB__DATABASE", database.name)
    await store(database, tmp_path, OLD, "apple", "banana", "cherry")
    await store(database, tmp_path, NEW, "apple", "apple", "cherry", "date")
    await store(database, tmp_path, THIRD, "apple")
    await activate(database, OLD)
    return Site(database, mongodb.uri)


async def test_snapshots_are_listed_the_newest_first_with_names_and_processes(site: Site) -> None:
    await write_status(site.database, STATUS)
    await write_status(site.database, replace(STATUS, instance="two", shadow=THIRD))
    await site.database.snapshots.update_one({"_id": NEW}, {"$set": {"manifest.rows": "many"}})
    lines = [" ".join(line.split()) for line in (await site.output("snapshots")).splitlines()]
    assert [line.split()[0] for line in lines[1:4]] == [THIRD, NEW, OLD]
    assert "as shadow 1 of 2" in lines[1]
    assert "active 2 of 2" in lines[3]
    assert lines[4].startswith(f"{NEW} cannot be used: the manifest of snapshot {NEW} is damaged")
    listed = [json.loads(line) for line in (await site.output("snapshots", "--json")).splitlines()]
    assert [(one["snapshot"], one["names"], len(one["served_by"])) for one in listed] == [
        (THIRD, [], 0), (NEW, [], 0), (OLD, ["active"], 2),
    ]  # fmt: skip


async def test_the_list_is_shown_although_the_names_are_damaged(site: Site) -> None:
    await site.database.meta.update_one({"_id": "snapshot_names"}, {"$set": {"active": 5}})
    result = await site.run("snapshots")
    assert OLD in result.stdout
    assert isinstance(result.exception, CatalogError)
    assert "'snapshot_names' of the collection meta is damaged" in result.exception.message


async def test_an_empty_catalogue_says_how_to_build_a_snapshot(site: Site) -> None:
    await site.database.snapshots.delete_many({})
    await site.database.meta.delete_many({})
    assert "framematch catalog build" in await site.output("snapshots")
    assert await site.output("snapshots", "--json") == ""


async def test_one_snapshot_is_shown_by_its_name_or_the_start_of_its_id(site: Site) -> None:
    assert await site.output("show", "active") == await site.output("show", OLD[:20])
    assert json.loads(await site.output("show", NEW, "--json"))["manifest"]["products"] == 3


async def test_a_difference_needs_no_vectors(site: Site) -> None:
    await activate(site.database, NEW)
    await site.database["snapshots.chunks"].delete_many({"files_id": {"$not": {"$regex": "rows.json"}}})
    assert (await site.output("diff")).splitlines() == [
        f"From {OLD} to {NEW}",
        "1 product added, 1 removed, 1 with other pictures, 1 the same",
        "+ date",
        "- banana",
        "~ apple  1 picture added",
    ]
    assert json.loads(await site.output("diff", OLD, "active", "--json"))["added"] == ["date"]


async def test_activation_and_rollback_say_what_was_active_before(site: Site) -> None:
    assert await site.output("activate", NEW) == f"Snapshot {NEW} is active; before it was {OLD}\n"
    assert await site.output("activate", NEW[:19]) == f"Snapshot {NEW} is active already\n"
    assert await site.output("rollback", "--expect", NEW) == f"Snapshot {OLD} is active; before it was {NEW}\n"
    assert await site.names() == (OLD, NEW, None)
    changed = json.loads(await site.output("rollback", "--json"))
    assert (changed["before"]["active"], changed["after"]["active"]) == (OLD, NEW)


async def test_a_shadow_is_set_promoted_and_removed(site: Site) -> None:
    assert f"{NEW} decides beside {OLD} on 0.1 of the frames" in await site.output("shadow", NEW, "--sample", "0.1")
    assert (await read_names(site.database)).shadow_sample == 0.1
    assert "It is no shadow any more" in await site.output("promote")
    assert await site.names() == (NEW, OLD, None)
    await site.output("shadow", "--sample", "0.5", "previous")
    assert await site.names() == (NEW, OLD, OLD)
    changed = json.loads(await site.output("shadow", "previous", "--json"))
    assert changed["after"] == {
        "version": 5, "active": NEW, "previous": OLD, "shadow": OLD, "shadow_sample": 1.0,
    }  # fmt: skip
    assert f"{OLD} is the shadow no more" in await site.output("shadow", "off")
    assert "There was no shadow" in await site.output("shadow", "off")


@pytest.mark.parametrize(
    ("command", "message", "code"),
    [
        ("activate 2027", "there is no snapshot '2027'", 1),
        ("activate 20260102", "is the start of 2 snapshots", 2),
        ("activate previous", "no snapshot is previous", 1),
        (f"activate {NEW} --expect {THIRD}", f"the active snapshot is {OLD}, not {THIRD}", 1),
        (f"activate {NEW} --expect 2027", "there is no snapshot '2027'", 1),
        ("rollback", "there is no previous snapshot", 1),
        ("promote", "there is no shadow", 1),
        ("shadow active", f"snapshot {OLD} is active", 1),
        ("shadow 2027", "there is no snapshot '2027'", 1),
        ("show 2027", "there is no snapshot '2027'", 1),
        ("diff", "no snapshot is previous", 1),
    ],
)
async def test_a_command_that_cannot_be_done_changes_nothing(site: Site, command: str, message: str, code: int) -> None:
    error = await site.refusal(*command.split())
    assert message in error.message
    assert error.exit_code == code
    assert isinstance(error, UsageError) == (code == 2)


@pytest.mark.parametrize("command", ["activate", "shadow"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"manifest": None}, "is damaged"),
        ({"manifest.rows": "many"}, "is damaged"),
        ({"manifest.format_version": 9}, "has format 9"),
        ({"manifest.id": OLD}, f"is of {OLD}"),
    ],
    ids=str,
)
async def test_a_damaged_snapshot_gets_no_name(
    site: Site, command: str, change: dict[str, object], message: str
) -> None:
    await site.database.snapshots.update_one({"_id": NEW}, {"$set": change})
    assert message in (await site.refusal(command, NEW)).message


@pytest.mark.parametrize("command", ["activate", "shadow"])
async def test_an_index_that_finds_too_little_gets_no_name(site: Site, command: str) -> None:
    await site.database.snapshots.update_one({"_id": NEW}, {"$set": {"manifest.index.recall_at_10": 0.98}})
    assert "finds 98.0% of what an exact search finds" in (await site.refusal(command, NEW)).message


async def test_a_snapshot_that_too_many_products_have_changed_since_gets_no_name(site: Site) -> None:
    changes = [{"_id": 1 + n, "product": f"p{n}", "removed": True, "views": []} for n in range(DELTA_ROWS_MAX + 1)]
    await site.database.delta.insert_many(changes)
    for command in ("activate", "shadow"):
        assert "5001 pictures and removals have changed since" in (await site.refusal(command, NEW)).message
    await site.database.delta.delete_many({"_id": {"$lt": 7}})
    assert "change 1 of the catalogue is gone" in (await site.refusal("activate", NEW)).message
    await site.database.snapshots.update_one({"_id": NEW}, {"$set": {"manifest.delta": 6}})
    await site.output("activate", NEW)


@pytest.fixture(scope="module")
def triton(start_triton: Callable[[Path], TritonServer], tmp_path_factory: pytest.TempPathFactory) -> TritonServer:
    repository = tmp_path_factory.mktemp("repository")
    build_model_repository(load_bundle(BUNDLE_DIR), repository, BuildOptions(max_batch_size=4))
    return start_triton(repository)


async def test_a_snapshot_of_a_model_that_triton_does_not_serve_gets_no_name(
    site: Site, triton: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_URL", triton.url)
    for command in ("activate", "shadow"):
        error = await site.refusal(command, NEW)
        assert error.message.startswith(f"snapshot {NEW} needs the model colours (abababababab), and Triton at")
    [served] = await list_served_models(triton.url)
    digest = {"manifest.model_digest": served.manifest.digest}
    await site.database.snapshots.update_one({"_id": NEW}, {"$set": digest})
    await site.output("activate", NEW)


async def test_a_rollback_is_possible_while_triton_is_away(
    site: Site, dead_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await activate(site.database, NEW)
    monkeypatch.setenv("TRITON_URL", dead_address)
    monkeypatch.setenv("FRAMEMATCH_TRITON__TIMEOUT_S", "0.1")
    result = await site.run("rollback", "--json")
    assert json.loads(result.stdout)["after"]["active"] == OLD
    assert f"Warning: it is not known whether Triton serves the model of {OLD}" in result.stderr


async def test_a_shadow_is_promoted_only_when_its_report_fulfils_the_condition(site: Site) -> None:
    await site.output("shadow", NEW)
    await write_counts(site.database, "run", OLD, NEW, report_of(100, changed=1).counts)
    assert (await site.refusal("promote", "--if", "changed<2")).exit_code == 2
    error = await site.refusal("promote", "--if", "changed<=1%,regions>=5000")
    assert error.message.startswith(f"snapshot {NEW} is not promoted: changed<=1%: the share is 1.00%")
    assert "regions>=5000: there are 1,000" in error.message
    await site.output("promote", "--if", "changed<=50%,regions>=1000")
    assert await site.names() == (NEW, OLD, None)


async def test_pruning_keeps_named_snapshots_and_the_newest_others(site: Site) -> None:
    await site.output("activate", NEW)
    await site.output("diff", NEW, THIRD)
    cached = state_dir() / "snapshots"
    assert await site.output("prune") == "No snapshot is to be deleted\n"
    assert await site.output("prune", "--keep", "0", "--dry-run") == f"Would delete {THIRD}\n"
    assert json.loads(await site.output("prune", "--keep", "0", "--json")) == {
        "dry_run": False, "snapshots": [THIRD], "embeddings": 0, "delta_entries": 0,
    }  # fmt: skip
    assert await site.database.snapshots.distinct("_id") == [OLD, NEW]
    assert [path.name for path in cached.iterdir()] == [NEW]
    await site.output("rollback")


async def test_damaged_names_are_repaired_by_an_activation_and_by_nothing_else(site: Site) -> None:
    await site.database.meta.update_one({"_id": "snapshot_names"}, {"$set": {"previous": 5}})
    for command in ("rollback", "promote", f"shadow {NEW}", "shadow off"):
        assert "catalog activate ID" in (await site.refusal(*command.split())).hint
    assert await site.output("activate", NEW) == f"Snapshot {NEW} is active; before it was {OLD}\n"


async def test_of_many_operators_who_expect_the_same_one_wins_and_the_others_are_told(site: Site) -> None:
    wanted = [NEW, THIRD] * 5
    done = await asyncio.gather(
        *(activate(site.database, snapshot_id, expect=OLD) for snapshot_id in wanted), return_exceptions=True
    )
    [winner] = [names for names in done if isinstance(names, SnapshotNames)]
    assert await read_names(site.database) == winner == SnapshotNames(2, winner.active, previous=OLD)
    assert {type(error) for error in done if error is not winner} == {StaleNamesError}


async def test_of_two_commands_at_once_one_wins_and_the_other_is_told(site: Site) -> None:
    environment = {"MONGODB_URI": site.uri, "FRAMEMATCH_MONGODB__DATABASE": site.database.name}
    commands = (("catalog", "activate", key, "--expect", OLD) for key in (NEW, THIRD))
    done = await asyncio.gather(*(asyncio.to_thread(framematch, environment, *command) for command in commands))
    assert sorted(result.returncode for result in done) == [0, 1]
    [refused] = [result.stderr for result in done if result.returncode]
    assert len(refused.splitlines()) == 1
    assert "framematch catalog snapshots" in refused
    assert (await read_names(site.database)).version == 2


async def test_a_change_since_the_names_were_read_is_not_overwritten(site: Site) -> None:
    with in_between(site) as operator:
        await activate(site.database, THIRD)
        _output, errors = await asyncio.to_thread(operator.communicate, "go\n")
    assert operator.returncode == 1
    assert "were changed by somebody else meanwhile" in errors
    assert await site.names() == (THIRD, OLD, None)


async def test_an_operator_who_is_killed_between_reading_and_writing_leaves_everything_as_it_was(site: Site) -> None:
    with in_between(site) as operator:
        operator.kill()
    assert await site.names() == (OLD, None, None)
    await site.output("activate", THIRD, "--expect", OLD)


@contextmanager
def in_between(site: Site) -> "Iterator[subprocess.Popen[str]]":
    """A process that wants to activate NEW, and has read the names and not yet written them."""
    program = [sys.executable, "-m", "tests.integration.activation_program", site.uri, site.database.name, NEW]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "read\n"
            yield process
        finally:
            process.kill()


def test_mongodb_that_goes_away_in_the_middle_leaves_everything_as_it_was(tmp_path: Path) -> None:
    with running(MongoServer(tmp_path / "mongodb")) as server, warnings.catch_warnings():
        # PyMongo 4.20 does not close the socket of a monitor that it cancels while connecting.
        warnings.simplefilter("ignore", ResourceWarning)
        names = asyncio.run(lose_mongodb(server, tmp_path))
        gc.collect()
    assert names == SnapshotNames(1, active=OLD)


async def lose_mongodb(server: MongoServer, folder: Path) -> SnapshotNames:
    """The names after MongoDB went away while they were changed."""

    def lose(names: SnapshotNames) -> SnapshotNames:
        server.stop()  # killed, it forgets what was written in the last second
        return names.with_active(NEW)

    async with await connect(server.uri, timeout_s=1) as client:
        database = client["away"]
        await store(database, folder, OLD, "apple", "banana")
        await store(database, folder, NEW, "apple")
        await activate(database, OLD)
        with pytest.raises(MongoUnavailableError):
            await change_names(database, lose)
        server.start()
        await client.admin.command("ping")
        return await read_names(database)


async def is_active(database: Database, snapshot_id: str) -> bool:
    return (await read_names(database)).active == snapshot_id


async def test_waiting_ends_when_the_last_process_serves_the_snapshot(site: Site) -> None:
    await write_status(site.database, replace(STATUS, snapshot=NEW))
    await write_status(site.database, replace(STATUS, instance="two"))
    waiting = asyncio.create_task(site.run("activate", NEW, "--wait", "60"))
    await eventually(lambda: is_active(site.database, NEW))
    assert not waiting.done()
    await write_status(site.database, replace(STATUS, instance="two", snapshot=NEW))
    result = await waiting
    assert result.exit_code == 0
    assert result.stdout.endswith("Served by all running processes: 2\n")


async def test_waiting_counts_no_process_that_has_ended(site: Site) -> None:
    await write_status(site.database, STATUS)
    await remove_status(site.database, STATUS.instance)
    assert (await site.output("activate", NEW, "--wait", "60")).endswith("No process is running\n")


@pytest.mark.parametrize("command", [f"activate {NEW}", "rollback", "promote"])
async def test_waiting_fails_when_the_time_is_over_and_the_snapshot_stays_active(site: Site, command: str) -> None:
    await activate(site.database, NEW)
    await activate(site.database, OLD)
    await change_names(site.database, lambda names: names.with_shadow(NEW))
    await write_status(site.database, STATUS)
    result = await site.run(*command.split(), "--wait", "0.1")
    assert isinstance(result.exception, CatalogError)
    assert result.exception.message == f"after 0.1 s 0 of 1 processes serve {NEW}"
    assert (await read_names(site.database)).active == NEW


async def test_waiting_fails_at_once_when_a_process_refuses(site: Site) -> None:
    refusing = replace(STATUS, names_version=2, refused=RefusedSnapshot(NEW, "the disk is full"))
    await write_status(site.database, refusing)
    result = await site.run("activate", NEW, "--wait", "60")
    assert isinstance(result.exception, CatalogError)
    assert result.exception.message == f"{NEW} is refused by 1 of 1 processes (host-1 7): the disk is full"


async def test_waiting_ends_when_somebody_activates_another_snapshot(site: Site) -> None:
    await write_status(site.database, STATUS)
    waiting = asyncio.create_task(site.run("activate", NEW, "--wait", "60"))
    await eventually(lambda: is_active(site.database, NEW))
    await activate(site.database, THIRD)
    result = await waiting
    assert isinstance(result.exception, CatalogError)
    assert result.exception.message == f"snapshot {THIRD} was activated meanwhile"
