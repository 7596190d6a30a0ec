"""`framematch replay` of what a real consumer has published."""

import asyncio
import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from typer.testing import CliRunner

from framematch.catalog.mongo import connect
from framematch.cli.app import app
from framematch.core.cloud_events import match_headers
from framematch.core.errors import FramematchError
from framematch.core.events import MATCH_SCHEMA, MatchEvent, encode
from framematch.core.frames import Frame
from framematch.core.ids import match_event_id
from framematch.core.kafka.clients import new_admin, new_consumer, new_producer, started
from framematch.core.local_stack import LocalStack
from framematch.core.timestamps import now_us, to_rfc3339
from tests.e2e.commands import fill_catalogue, run_here
from tests.e2e.site import Site, unique_prefix
from tests.integration.commands import framematch
from tests.sample_events import match_event
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("untraced_processes")

SCORE_TOLERANCE = 1e-5
FRAMES = 40
REMOVED = "granny-smith"


@dataclass(frozen=True)
class Done:
    """The end of a replay with `--json`: its exit code, differences, summary, and error."""

    code: int
    differences: list[dict[str, Any]]
    summary: dict[str, Any]
    error: str


def replay(site: Site, *arguments: str, **environment: str) -> Done:
    """Replay the last hour, in this process."""
    command = ["replay", "--json", "--limit", "1000", "--since", "1h", *arguments]
    done = CliRunner().invoke(app, command, env=site.environment | environment)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    error = done.exception
    if error is not None and not isinstance(error, FramematchError | SystemExit):
        raise error
    code = error.exit_code if isinstance(error, FramematchError) else done.exit_code
    return Done(code, lines[:-1], lines[-1] if lines else {}, str(error or ""))


@dataclass(frozen=True)
class Published:
    """A site whose frames were consumed with the snapshot `first`; `second` was built later, without `REMOVED`."""

    site: Site
    events: list[MatchEvent]
    first: str
    second: str

    @property
    def by_id(self) -> dict[str, MatchEvent]:
        return {event.id: event for event in self.events}


@pytest.fixture(scope="module")
def published(servers: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """One of the frames is no picture, and one was sent twice."""
    with Site(servers, tmp_path_factory.mktemp("replay"), prefix=unique_prefix()) as site:
        site.environment["FRAMEMATCH_MONGODB__DATABASE"] = f"replay_{uuid.uuid4().hex}"
        fill_catalogue(site.environment)
        first = asyncio.run(newest_snapshot(site))

        async def consume() -> list[MatchEvent]:
            frames = await site.publish(FRAMES, payloads={5: b"no picture"})
            await site.send([frames[7]], payloads={})
            consumer = site.start("consume")
            events = await site.events([frame for number, frame in enumerate(frames) if number != 5])
            await site.read(site.topics.deadletter, 1)
            consumer.stop()
            return events

        events = asyncio.run(consume())
        asyncio.run(remove_product(site))
        run_here("catalog", "build", environment=site.environment)
        yield Published(site, events, first, asyncio.run(newest_snapshot(site)))


async def newest_snapshot(site: Site) -> str:
    async with await connect(site.environment["MONGODB_URI"]) as client:
        found = client[site.environment["FRAMEMATCH_MONGODB__DATABASE"]].snapshots.find({}, {"_id": 1})
        ids: list[str] = sorted([document["_id"] async for document in found])
    return ids[-1]


async def remove_product(site: Site) -> None:
    async with await connect(site.environment["MONGODB_URI"]) as client:
        done = await client[site.environment["FRAMEMATCH_MONGODB__DATABASE"]].products.delete_one({"_id": REMOVED})
    assert done.deleted_count == 1


def test_the_same_snapshot_gives_the_same_answers_and_publishes_nothing(published: Published) -> None:
    site = published.site
    before = asyncio.run(state_of_kafka(site))
    done = replay(site, "--snapshot", published.first)
    assert asyncio.run(state_of_kafka(site)) == before
    assert (done.code, done.differences) == (0, []), done
    assert done.summary["published_by"] == {published.first: len(published.by_id)}
    assert done.summary["largest_score_shift"] <= SCORE_TOLERANCE
    assert (done.summary["frames"], done.summary["undecided"]) == (FRAMES + 1, {"not_a_jpeg": 1})
    assert (done.summary["repeats"], done.summary["missing"]) == (1, {})


async def state_of_kafka(site: Site) -> tuple[dict[TopicPartition, int], list[str]]:
    """The end of every partition of the site's topics, and the groups that the site, or a default, could have made."""
    consumer = new_consumer(site.kafka)
    async with started(consumer, site.kafka), started(new_admin(site.kafka), site.kafka) as admin:
        described = await consumer.describe(*site.topics.all)
        partitions = [TopicPartition(one.name, n) for one in described.values() for n in range(one.partitions)]
        ends = await consumer.end_offsets(partitions)
        groups = sorted(str(group) for group, *_ in await admin.list_consumer_groups())
    return ends, [group for group in groups if group.startswith((site.kafka.topic_prefix, "framematch"))]


def test_another_snapshot_gives_the_expected_differences_event_by_event(published: Published, tmp_path: Path) -> None:
    file = tmp_path / "differences.jsonl"
    file.write_text("those of an earlier replay")
    done = replay(published.site, "--snapshot", published.second, "--output", str(file))
    assert done.code == 0, done
    changed = {line["id"]: line for line in done.differences}
    named = {event.id for event in published.events if event.product and event.product.id == REMOVED}
    assert named <= changed.keys()
    assert changed
    for event_id, line in changed.items():
        event = published.by_id[event_id]
        assert line["kind"] == "changed"
        assert (line["published"]["snapshot"], line["replayed"]["snapshot"]) == (published.first, published.second)
        assert line["published"]["decision"] == event.decision
        assert line["published"]["score"] == event.score
        assert line["frame"]["id"] == event.frame.id
        assert line["replayed"]["product"] != REMOVED
        assert line["replayed"]["nearest"] != REMOVED
    assert done.summary["changed_decisions"] == len(changed)
    assert [json.loads(line) for line in file.read_text().splitlines()] == [*done.differences, done.summary]
    assert file.stat().st_mode & 0o077 == 0


def test_a_threshold_of_the_settings_applies(published: Published) -> None:
    done = replay(published.site, "--snapshot", published.first, FRAMEMATCH_MATCHING__THRESHOLD="1")
    matched = {event.id for event in published.events if event.decision != "unknown" and (event.score or 0) < 1}
    assert {line["id"] for line in done.differences} == matched
    assert {line["replayed"]["decision"] for line in done.differences} == {"unknown"}


def test_frames_of_one_camera_can_be_replayed(published: Published) -> None:
    done = replay(published.site, "--snapshot", published.first, "--camera", "till-2")
    own = {event.id for event in published.events if event.frame.camera == "till-2"}
    assert (done.code, done.summary["regions"]) == (0, len(own))


def test_the_result_is_readable_without_json(published: Published) -> None:
    command = ["replay", "--since", "1h", "--snapshot", published.second, "--limit", "1"]
    text = CliRunner().invoke(app, command, env=published.site.environment).stdout
    assert f"frames      {FRAMES + 1} replayed with snapshot {published.second}; 1 cannot be decided" in text
    assert f"by {published.first} ({len(published.by_id)})" in text
    assert "more differences: --output FILE writes all" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--camera", "till-9"), "camera 'till-9' has no frames"),
        (("--until", "50m"), "there are no frames from"),
        (("--until", "2h"), "--until 2h is not after --since 1h"),
        (("--output", "/proc/no/such"), "cannot write /proc/no/such"),
    ],
)
def test_what_has_no_frames_is_refused(published: Published, arguments: tuple[str, ...], says: str) -> None:
    refused = replay(published.site, "--snapshot", published.first, *arguments)
    assert refused.code in (1, 2)
    assert says in refused.error


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "Kafka does not answer at"),
        ("TRITON_URL", "Triton"),
        ("MONGODB_URI", "MongoDB at"),
    ],
)
def test_a_server_that_is_away_is_one_line(published: Published, dead_address: str, name: str, says: str) -> None:
    address = f"mongodb://{dead_address}" if name == "MONGODB_URI" else dead_address
    away = {name: address, "FRAMEMATCH_MONGODB__TIMEOUT_S": "1", "FRAMEMATCH_TRITON__TIMEOUT_S": "1"}
    refused = framematch(
        published.site.environment | away, "replay", "--since", "1h", "--snapshot", published.first
    )  # fmt: skip
    [line] = [line for line in refused.stderr.splitlines() if not line.startswith("{")]  # without the client's log
    assert refused.returncode == 1
    assert says in line


def test_an_unknown_snapshot_is_refused_and_leaves_the_file_as_it_is(published: Published, tmp_path: Path) -> None:
    file = tmp_path / "differences.jsonl"
    file.write_text("those of an earlier replay")
    refused = replay(published.site, "--snapshot", "nonesuch", "--output", str(file))
    assert file.read_text() == "those of an earlier replay"
    assert (refused.code, refused.error.split(".")[0]) == (1, "there is no snapshot 'nonesuch'")


def test_ctrl_c_ends_it_with_what_was_found_so_far(published: Published, tmp_path: Path) -> None:
    file = tmp_path / "differences.jsonl"
    command = [sys.executable, "-m", "framematch", "replay", "--since", "1h", "--snapshot", published.first]
    environment = published.site.environment | {"FRAMEMATCH_MATCHING__THRESHOLD": "1"}
    with subprocess.Popen([*command, "--output", str(file)], env=environment, stderr=subprocess.PIPE) as process:
        wait_until(lambda: file.exists() and file.stat().st_size, message="the first difference")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, b"")
    assert json.loads(file.read_text().splitlines()[-1])["kind"] == "summary"


def test_frames_that_no_consumer_has_processed_are_missing_and_aborted_events_do_not_count(site: Site) -> None:
    async def publish() -> tuple[list[MatchEvent], Frame]:
        frames = await site.publish(6, cameras=1)
        await publish_aborted(site, frames[0])
        consumer = site.start("consume", FRAMEMATCH_CONSUMER__DELIVERY="exactly_once")
        events = await site.events(frames)
        consumer.stop()
        later = Frame("till-0", frames[-1].captured_at_us + 1_000, 100)
        await site.send([later])
        return events, later

    events, later = asyncio.run(publish())
    done = replay(site, "--snapshot", events[-1].snapshot)
    assert (done.code, done.summary["regions"], done.summary["changed_decisions"]) == (0, 6, 0)
    assert [(line["kind"], line["reason"], line["frame"]["id"]) for line in done.differences] == [
        ("missing", "not_processed", later.id)
    ]


async def publish_aborted(site: Site, frame: Frame) -> None:
    """A transaction with an event of this frame that says something else, and that is aborted."""
    [partition] = {record.partition for record in await site.read(site.topics.frames, 1)}
    event = match_event(camera=frame.camera, product="nothing-like-this")
    other = replace(event, id=match_event_id(frame.id, (0, 0, 320, 320), MATCH_SCHEMA))
    producer = new_producer(site.kafka, transactional_id=f"{site.kafka.topic_prefix}-aborted")
    async with started(producer, site.kafka):
        await producer.begin_transaction()
        await producer.send_and_wait(
            site.topics.matches,
            encode(other),
            key=frame.camera.encode(),
            headers=match_headers(other, to_rfc3339(now_us())),
            partition=partition,
        )
        await producer.abort_transaction()


def test_frames_that_kafka_has_deleted_are_named_and_the_others_are_replayed(site: Site) -> None:
    site.kafka = site.kafka.model_copy(update={"frames_retention_minutes": 0.5})

    async def publish() -> list[MatchEvent]:
        frames = await site.publish(8, cameras=1)
        consumer = site.start("consume")
        events = await site.events(frames)
        consumer.stop()
        partition = TopicPartition(site.topics.frames, events[0].frame.partition)
        async with started(new_admin(site.kafka), site.kafka) as admin:
            await admin.delete_records({partition: RecordsToDelete(before_offset=3)})
        return events

    events = asyncio.run(publish())
    done = replay(site, "--snapshot", events[0].snapshot)
    assert done.code == 1
    assert (done.summary["regions"], done.differences) == (5, [])
    assert list(done.summary["gone_before"]) == [str(events[0].frame.partition)]
    assert "are gone: Kafka has deleted them" in done.error
