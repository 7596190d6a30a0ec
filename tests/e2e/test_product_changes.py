"""A product that is added or removed by itself is searched by running consumers, without a build."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.dataset import DATA_DIR, load_photos
from framematch.core.events import MatchEvent
from framematch.core.local_stack import LocalStack
from tests.e2e.commands import fill_catalogue
from tests.e2e.site import Site, unique_prefix
from tests.integration.commands import framematch

pytestmark = [pytest.mark.usefixtures("untraced_processes"), pytest.mark.timeout(300)]

PHOTO = DATA_DIR / load_photos()[0].file  # every frame shows it


@pytest.fixture(scope="module")
def own_database(servers: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The demo's catalogue and its index in a database of these tests: the name, in an environment."""
    name = {"FRAMEMATCH_MONGODB__DATABASE": f"changes_{uuid.uuid4().hex}"}
    with Site(servers, tmp_path_factory.mktemp("filling"), prefix=unique_prefix()) as site:
        fill_catalogue(site.environment | name)
    return name


@pytest.fixture
def site(servers: LocalStack, own_database: dict[str, str], tmp_path: Path) -> Iterator[Site]:
    with Site(servers, tmp_path, prefix=unique_prefix()) as site:
        site.environment |= own_database
        yield site


def change(site: Site, *arguments: str) -> str:
    """Run a command of the catalogue; returns what it prints."""
    done = framematch(site.environment, "catalog", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def number_in(printed: str) -> int:
    """The number of the change that a command prints."""
    found = re.search(r"with delta (\d+)", printed)
    assert found
    return int(found[1])


async def decided(site: Site) -> list[MatchEvent]:
    """The events of new frames of the photo, from four cameras."""
    return await site.events(await site.publish(8, payloads=dict.fromkeys(range(8), PHOTO.read_bytes())))


async def test_all_running_consumers_search_a_product_soon_after_it_was_added_and_removed(site: Site) -> None:
    for _ in range(2):
        site.start("consume")
    added = change(site, "add", "new", "--name", "New", "--image", str(PHOTO), "--price", "1.20", "--wait", "10")
    assert "Served by all running processes: 2" in added
    shown = {(e.delta, e.candidates[0].product_id, round(e.score or 0, 3)) for e in await decided(site)}
    assert shown == {(number_in(added), "new", 1.0)}
    removed = change(site, "delete", "new", "--wait", "10")
    assert "Served by all running processes: 2" in removed
    events = [event for event in await decided(site) if event.delta == number_in(removed)]
    assert len(events) == 8
    assert "new" not in {candidate.product_id for event in events for candidate in event.candidates}


async def test_a_consumer_that_was_restarted_keeps_the_changes_and_a_build_takes_them_in(site: Site) -> None:
    change(site, "add", "kept", "--name", "Kept", "--image", str(PHOTO))
    consumer = site.start("consume")
    [before] = {(event.snapshot, event.delta, event.candidates[0].product_id) for event in await decided(site)}
    assert before[2] == "kept"
    built = change(site, "build")
    assert "pictures    0 embedded" in built
    consumer.stop()
    site.start("consume")
    after = {(event.snapshot, event.delta, event.candidates[0].product_id) for event in await decided(site)} - {before}
    assert [(delta, product) for _, delta, product in after] == [(before[1], "kept")]
