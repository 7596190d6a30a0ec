"""The archive between a real Kafka and a real MongoDB: each event is stored once, and none is lost."""

import os
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from pymongo.errors import OperationFailure
from structlog.testing import capture_logs

from framematch.archive.entries import COLLECTIONS
from framematch.archive.indexes import ensure_indexes
from framematch.catalog.mongo import Database
from framematch.core.events import MatchEvent, encode
from framematch.core.kafka.clients import client_options, started
from framematch.core.settings import ArchiveSettings
from framematch.stack.kafka import KafkaServer
from framematch.stack.mongodb import MongoServer
from tests.conftest import running
from tests.integration.archive_site import ArchiveSite, logged
from tests.sample_events import AT_US, log_event, match_event, sighting_event
from tests.support import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
def site(kafka: KafkaServer, mongodb: MongoServer) -> ArchiveSite:
    return ArchiveSite(kafka.bootstrap_servers, mongodb.uri)


async def stored(database: Database, name: str, /, **fields: str) -> int:
    """How many documents there are; -1 while the local stack's server cannot say, as it creates the collection."""
    try:
        return await database[name].count_documents(fields)
    except OperationFailure:
        return -1


async def count(database: Database, name: str, number: int) -> None:
    async def found() -> bool:
        return await stored(database, name) == number

    await eventually(found, timeout_s=90, message=f"{number} {name}")


async def committed(site: ArchiveSite, topic: str, number: int) -> None:
    """So many records of the topic are handled."""
    async with started(AIOKafkaAdminClient(**client_options(site.settings.kafka)), site.settings.kafka) as admin:

        async def reached() -> bool:
            try:
                offsets = await admin.list_consumer_group_offsets(site.name)
            except GroupCoordinatorNotAvailableError:  # the broker's first group is being made
                return False
            found = [max(0, each.offset) for partition, each in offsets.items() if partition.topic == topic]
            return bool(sum(found) == number)

        await eventually(reached, timeout_s=90, message=f"{number} committed records")


async def test_each_event_is_stored_once_as_it_was_published_and_repeats_change_nothing(site: ArchiveSite) -> None:
    matches = [match_event(number, camera=f"till-{number % 3}") for number in range(20)]
    await site.publish(site.topics.matches, *matches, *matches[:5])
    await site.publish(site.topics.logs, *(log_event(number) for number in range(3)))
    async with site.database() as database:
        async with site.running():
            await count(database, "matches", 20)
            await count(database, "logs", 3)
            await committed(site, site.topics.matches, 25)
            before = await database.matches.find({}, sort=[("_id", 1)]).to_list()
            await site.publish(site.topics.matches, *matches, match_event(99))
            await count(database, "matches", 21)
            await committed(site, site.topics.matches, 46)
        after = await database.matches.find({}, sort=[("_id", 1)]).to_list()
    assert [one for one in after if one["_id"] != match_event(99).id] == before
    assert {one["_id"]: one["event"] for one in before} == {one.id: encode(one).decode() for one in matches}
    assert len({one["seq"] for one in after}) == 21


async def test_the_newest_state_of_a_sighting_wins_within_a_batch_and_later(site: ArchiveSite) -> None:
    ended = sighting_event("ended", seen_us=AT_US + 9)
    await site.publish(site.topics.sightings, sighting_event("updated", seen_us=AT_US + 5), sighting_event())
    async with site.database() as database:

        async def newest(kind: str) -> bool:
            found = await database.sightings.find_one({"_id": ended.sighting})
            return found is not None and found["kind"] == kind

        async with site.running():
            await eventually(lambda: newest("updated"))
            await site.publish(site.topics.sightings, ended, sighting_event("updated", seen_us=AT_US + 7))
            await eventually(lambda: newest("ended"))
            await site.publish(site.topics.sightings, sighting_event("updated", seen_us=AT_US + 8), ended)
            await committed(site, site.topics.sightings, 6)
        [found] = await database.sightings.find({}).to_list()
    assert found["event"] == encode(ended).decode()


async def test_bad_records_stop_no_batch_and_are_logged_with_their_places(site: ArchiveSite) -> None:
    good = [match_event(number) for number in range(100)]
    newer = encode(match_event(200)).replace(b"match.v1", b"match.v2")
    bad = [b"no json", None, newer, encode(match_event(201))[:-1] + b',"more":"' + b"x" * 900_000 + b'"}']
    await site.publish(site.topics.matches, *good[:50], *bad, *good[50:])
    async with site.database() as database:
        with capture_logs() as logs:
            async with site.running():
                await count(database, "matches", 101)  # the large one fits
                await committed(site, site.topics.matches, 104)
    refused = [line for line in logs if line["event"] == "event_not_archived"]
    first = refused[0]["offset"]
    assert [(line["topic"], line["offset"] - first, line["reason"]) for line in refused] == [
        (site.topics.matches, 0, "not_an_event"),
        (site.topics.matches, 1, "not_an_event"),
        (site.topics.matches, 2, "newer_schema"),
    ]


async def test_an_archive_that_is_killed_loses_nothing_and_its_log_is_archived_too(
    site: ArchiveSite, tmp_path: Path
) -> None:
    events = [match_event(number, camera=f"till-{number % 5}") for number in range(200)]
    log = tmp_path / "log"
    await site.publish(site.topics.matches, *events)
    async with site.database() as database:

        async def some() -> bool:
            return await stored(database, "matches") > 0

        with site.process(log, FRAMEMATCH_ARCHIVE__BATCH_EVENTS="7") as process:
            await eventually(some)
            process.kill()
        with site.process(log, FRAMEMATCH_LOG__TOPIC="true") as process:
            await count(database, "matches", 200)
            await committed(site, site.topics.matches, 200)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        found = await database.matches.find({}).to_list()
        assert {one["_id"]: one["event"] for one in found} == {one.id: encode(one).decode() for one in events}
        async with site.running():

            async def last_words() -> bool:
                return await stored(database, "logs", service="archive", name="service_stopped") == 1

            await eventually(last_words)
        names = [one["name"] for one in await database.logs.find({}, sort=[("seq", 1)]).to_list()]
    own = {line["event"] for line in logged(log)}
    assert {"http_listening", "service_stopping", "service_stopped"} <= set(names) <= own
    assert "service_failed" not in own


async def test_mongodb_may_have_a_full_disk_then_be_killed_and_come_back_and_nothing_is_lost(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    with running(MongoServer(tmp_path / "mongodb")) as server:
        site = ArchiveSite(kafka.bootstrap_servers, server.uri)
        await site.publish(site.topics.matches, *(match_event(number) for number in range(10)))
        with capture_logs() as logs:
            async with site.running():
                await committed(site, site.topics.matches, 10)
                await on_disk(site, tmp_path / "mongodb")
                size = store(tmp_path / "mongodb").stat().st_size + 4096
                resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, size))
                await disk_full(site)
                await site.publish(site.topics.matches, *(large_event(number) for number in range(10, 30)))
                await eventually(lambda: [line for line in logs if line["event"] == "archive_waits"])
                await committed(site, site.topics.matches, 10)
                server.kill()
                server.start()
                await committed(site, site.topics.matches, 30)
        async with site.database() as database:
            await count(database, "matches", 30)
    waits, continues = (line for line in logs if line["event"].startswith("archive_"))
    assert "MongoDB refused" in waits["error"]
    assert continues["event"] == "archive_continues"


def large_event(number: int) -> MatchEvent:
    event = match_event(number)
    assert event.product is not None
    noise = os.urandom(100_000).hex()  # which the store cannot compress away
    return replace(event, product=replace(event.product, description=noise))


def store(folder: Path) -> Path:
    return folder / "data" / "framematch.mv"


async def disk_full(site: ArchiveSite) -> None:
    """Wait until the local stack's server refuses what it is given: a kill loses what it has acknowledged before."""
    async with site.database() as database:

        async def refused() -> bool:
            try:
                await database.more.insert_one({"noise": os.urandom(100_000)})
            except OperationFailure:
                return True
            return False

        await eventually(refused)


async def on_disk(site: ArchiveSite, folder: Path) -> None:
    """Wait until the local stack's server has written all that it has acknowledged.

    A write of the file may have begun only: the next one comes when it is complete.
    """
    async with site.database() as database:
        for _ in range(2):
            inserted_ns = time.time_ns()

            async def written(since_ns: int = inserted_ns) -> bool:
                await database.more.insert_one({})
                return store(folder).stat().st_mtime_ns > since_ns

            await eventually(written)


async def test_other_retention_settings_change_the_index_that_exists(site: ArchiveSite) -> None:
    async def expiry(database: Database) -> dict[str, float | None]:
        found = {name: await database[name].index_information() for name in COLLECTIONS}
        return {name: each.get("expires", {}).get("expireAfterSeconds") for name, each in found.items()}

    async with site.database() as database:
        for days, seconds in ((1.0, 86_400), (1.0, 86_400), (0.5, 43_200), (0.0, None), (2.0, 172_800)):
            await ensure_indexes(database, ArchiveSettings(matches_days=days))
            assert (await expiry(database))["matches"] == seconds
        assert (await expiry(database))["logs"] == 14 * 86_400
