"""Changes of products that are killed at any moment, by SIGKILL, with a real MongoDB server."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from framematch.catalog.mongo import Database
from framematch.stack.mongodb import MongoServer
from tests.integration.product_site import ProductSite, stored_product
from tests.unit.catalog.snapshots import image_digest, picture

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("untraced_processes")]

REQUESTS_MIN = 6
"""A change sends more requests than this; each is a moment at which it is killed."""


@pytest.fixture
def program(mongodb: MongoServer, database: Database) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.integration.product_program", mongodb.uri, database.name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def run(program: "subprocess.Popen[str]", kill_before: int, product_id: str, *pictures: int) -> bool:
    """Change a product; whether that came to its end."""
    assert program.stdin
    assert program.stdout
    program.stdin.write(" ".join(map(str, (kill_before, product_id, *pictures))) + "\n")
    program.stdin.flush()
    lines = iter(program.stdout.readline, "")
    status = next(int(line) for line in lines if line.strip().isdigit())  # others are its log
    assert status in (0, signal.SIGKILL)
    return status == 0


@pytest.mark.parametrize("pictures", [(100, 101), ()], ids=["changed", "removed"])
async def test_a_change_that_was_killed_at_any_moment_is_completed_by_its_repetition(
    database: Database, program: "subprocess.Popen[str]", tmp_path: Path, pictures: tuple[int, ...]
) -> None:
    site = ProductSite(database, tmp_path)
    await site.store.upsert_many([await stored_product(site.store, f"p{n}", n) for n in range(3)])
    snapshot = await site.build()
    await site.activate(snapshot)
    moment = 0
    while True:
        moment += 1
        await site.put("p0", 0)
        if run(program, moment, "p0", *pictures):
            break
        decision = await site.shown(snapshot, 100)  # the log is readable and has no gap
        assert {candidate.product_id for candidate in decision.candidates} <= {"p0", "p1", "p2"}
        assert run(program, 0, "p0", *pictures)
        document = (await site.store.get_many(["p0"])).get("p0")
        views = [image_digest(picture(seed)) for seed in pictures]
        assert [view.image for view in (document.views if document else ())] == views
        shown = {candidate.product_id for candidate in (await site.shown(snapshot, 100)).candidates}
        assert shown == ({"p0", "p1", "p2"} if pictures else {"p1", "p2"})
        if pictures:
            assert (await site.shown(snapshot, 101)).candidates[0].score == pytest.approx(1)
    assert moment > REQUESTS_MIN
