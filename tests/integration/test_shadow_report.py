"""What consumers count of a shadow, stored in a real MongoDB server, and the report on it."""

import asyncio
import json

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.names import read_names, write_names
from framematch.catalog.snapshots.serving_status import RefusedSnapshot, ServingStatus, write_status
from framematch.cli.catalog import app
from framematch.core.errors import CatalogError
from framematch.matching.shadow.counts import ShadowCounts, merged
from framematch.matching.shadow.store import ensure_expiry, read_report, write_counts
from framematch.stack.mongodb import MongoServer
from tests.unit.matching.shadow_samples import UNKNOWN, compared, match, region, report_of

pytestmark = pytest.mark.integration

SERVING = ServingStatus("one", "host-1", 7, "consumer", "a", 0, "b", 1)
REFUSING = ServingStatus("two", "host-2", 8, "consumer", "a", 0, None, 1, RefusedSnapshot("b", "its model is away"))


def counts_of(regions: int, camera: str = "till-1") -> ShadowCounts:
    return compared(region(match("$a.b\0\n"), UNKNOWN, camera=camera, frame=frame) for frame in range(regions)).counts()


async def test_the_counts_of_all_runs_are_summed_and_a_repeated_write_counts_once(database: Database) -> None:
    await ensure_expiry(database)
    await ensure_expiry(database)
    await write_counts(database, "run-1", "a", "b", counts_of(2))
    for _ in range(2):
        await write_counts(database, "run-1", "a", "b", counts_of(3))
    await write_counts(database, "run-2", "a", "b", counts_of(7, "till-2"))
    await write_counts(database, "run-3", "b", "a", counts_of(5))
    report = await read_report(database, "a", "b")
    assert report.counts == merged([counts_of(3), counts_of(7, "till-2")])
    assert report.counts.flows[0].active == "$a.b\0\n"


async def test_without_counts_the_report_is_empty(database: Database) -> None:
    assert (await read_report(database, "a", "b")).counts == merged([])


@pytest.mark.parametrize(
    "damage",
    [
        {"counts": None}, {"counts.regions": -1}, {"counts.regions": 3}, {"counts.minutes": 40}, {"counts.squares": 0},
        {"counts.decisions": [[1]]}, {"counts.flows": [{"regions": 1}]}, {"counts.changes.lost.regions": 5},
    ],
)  # fmt: skip
async def test_a_damaged_document_is_left_out_and_named(database: Database, damage: dict[str, object]) -> None:
    await write_counts(database, "good", "a", "b", counts_of(2))
    await write_counts(database, "bad", "a", "b", counts_of(2))
    await database.shadow_reports.update_one({"_id": "bad"}, {"$set": damage})
    with capture_logs() as logs:
        report = await read_report(database, "a", "b")
    assert report.counts.regions == 2
    assert [(line["event"], line["run"]) for line in logs] == [("shadow_counts_unreadable", "'bad'")]


async def test_numbers_beyond_32_bits_survive(database: Database) -> None:
    many = ShadowCounts(squares=2**60, regions=2**40, minutes=2**20, decisions=((2**40, 0, 0), (0, 0, 0), (0, 0, 0)))
    counts = merged([counts_of(1), many])
    await write_counts(database, "run", "a", "b", counts)
    assert (await read_report(database, "a", "b")).counts == counts


@pytest.fixture
def command_database(mongodb: MongoServer, database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database that commands use."""
    monkeypatch.setenv("MONGODB_URI", mongodb.uri)
    monkeypatch.setenv("FRAMEMATCH_MONGODB__DATABASE", database.name)
    return database


async def run(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["shadow", "report", *arguments])


async def test_the_command_reports_on_the_present_shadow_and_who_runs_it(command_database: Database) -> None:
    before = await read_names(command_database)
    await write_names(command_database, before, before.with_active("a").with_shadow("b", 0.25))
    await write_counts(command_database, "run", "a", "b", report_of(600, changed=6, dropped=60).counts)
    for status in (SERVING, REFUSING):
        await write_status(command_database, status)
    shown = (await run()).stdout
    assert "Shadow    b, on 25.0% of the frames, in 1 of 2 processes" in shown
    assert "b is refused by 1 of 2 processes (host-2 8): its model is away" in shown
    assert "active: match" in shown
    assert "0.46% to 2.17%" in shown
    assert "milk" in shown
    found = json.loads((await run("--json")).stdout)
    assert found["shares"]["changed"]["high"] == pytest.approx(0.0217, abs=5e-5)
    assert found["decisions"]["match"] == {"match": 5_940, "ambiguous": 0, "unknown": 60}
    assert (found["regions"], found["dropped"], found["processes"]) == (6_000, 60, {"all": 2, "shadow": 1})


async def test_few_data_are_reported_as_not_enough(command_database: Database) -> None:
    before = await read_names(command_database)
    await write_names(command_database, before, before.with_active("a").with_shadow("b"))
    assert "Nothing was compared yet" in (await run()).stdout
    await write_counts(command_database, "run", "a", "b", report_of(29).counts)
    shown = (await run()).stdout
    assert "Not enough yet to state a share: 30 camera-minutes are needed" in shown
    assert "% to " not in shown


async def test_without_a_shadow_the_command_says_what_to_do(command_database: Database) -> None:
    before = await read_names(command_database)
    await write_names(command_database, before, before.with_active("a"))
    result = await run()
    assert isinstance(result.exception, CatalogError)
    assert str(result.exception) == (
        "there is no shadow. Run 'framematch catalog shadow ID', or name two snapshots with --active and --shadow"
    )
    result = await run("--active", "nothing", "--shadow", "neither")
    assert isinstance(result.exception, CatalogError)
