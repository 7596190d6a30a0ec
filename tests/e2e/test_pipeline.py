"""The way of a frame through real processes and real servers."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import jsonschema
import pytest

from demo.dataset import DATA_DIR, load_photos
from framematch.core.events import MatchEvent, json_schema
from tests.e2e.site import Site, sequences

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def folder_of_photos(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number, photo in enumerate(load_photos()[:count]):
        (folder / f"{number:04}.jpg").write_bytes((DATA_DIR / photo.file).read_bytes())
    return folder


async def test_every_picture_of_a_folder_becomes_a_match_event_that_keeps_the_schema(site: Site) -> None:
    site.start("consume")
    photos = folder_of_photos(site.folder / "photos", 12)
    site.start("edge", "--camera", f"shelf={photos}", "--fps", "50", ready=False)
    records = await site.read(site.topics.matches, 12)
    schema = json_schema("match.v1")
    events = [json.loads(record.value) for record in records]
    for event in events:
        jsonschema.validate(event, schema, format_checker=jsonschema.FormatChecker())
    assert [event["frame"]["sequence"] for event in events] == list(range(12))
    assert {event["frame"]["camera"] for event in events} == {"shelf"}
    assert {record.key for record in records} == {b"shelf"}


async def test_a_match_carries_what_the_catalogue_knows_of_the_product(site: Site) -> None:
    catalogue_picture = (DATA_DIR / "images" / "granny-smith.jpg").read_bytes()
    frames = await site.publish(1, payloads={0: catalogue_picture})
    site.start("consume")
    [event] = await site.events(frames)
    assert event.decision == "match"
    assert event.product is not None
    assert (event.product.id, event.product.name, event.product.category) == ("granny-smith", "Granny Smith", "Apple")
    assert event.candidates[0].product_id == "granny-smith"
    assert event.score is not None
    assert event.score > 0.99
    assert event.metadata_state == "fresh"


async def test_the_order_of_a_camera_is_kept_from_frames_to_events(site: Site) -> None:
    frames = await site.publish(200, cameras=3)
    site.start("consume")
    events = await site.events(frames)
    for camera in ("till-0", "till-1", "till-2"):
        assert sequences(events, camera) == [frame.sequence for frame in frames if frame.camera == camera]


async def test_bad_bytes_become_dead_letters_with_their_reason_and_the_partition_goes_on(site: Site) -> None:
    photo = (DATA_DIR / load_photos()[0].file).read_bytes()
    bad = {3: b"", 5: b"not a picture", 6: PNG, 10: photo[:-100], 11: bytes(1000)}
    frames = await site.publish(24, cameras=1, payloads=bad)
    site.start("consume")
    events = await site.events([frame for number, frame in enumerate(frames) if number not in bad])
    letters = {int(dict(r.headers)["deadletter_offset"]): r for r in await site.read(site.topics.deadletter, len(bad))}
    assert {event.frame.offset for event in events} | letters.keys() == set(range(24))
    assert {offset: record.value for offset, record in letters.items()} == bad
    reasons = {offset: dict(record.headers)["deadletter_reason"].decode() for offset, record in letters.items()}
    assert reasons == {3: "not_a_jpeg", 5: "not_a_jpeg", 6: "not_a_jpeg", 10: "truncated", 11: "not_a_jpeg"}
    headers = dict(letters[5].headers)
    assert headers["deadletter_topic"].decode() == site.topics.frames
    assert headers["ce_id"].decode() == frames[5].id


async def test_sigterm_finishes_what_is_in_flight_and_the_next_consumer_repeats_nothing(site: Site) -> None:
    frames = await site.publish(300)
    first = site.start("consume")
    await site.read(site.topics.matches, 20)
    first.stop()
    site.start("consume")
    events = await site.events(frames)
    assert len(events) == len(frames)


async def test_frames_older_than_max_age_are_skipped_and_counted(site: Site) -> None:
    old = await site.publish(6, age_s=3_600)
    young = await site.publish(6)
    consumer = site.start("consume", FRAMEMATCH_CONSUMER__MAX_AGE_S="600")
    events = await site.events(young)
    assert {event.frame.id for event in events} == {frame.id for frame in young}
    assert consumer.metric("framematch_consumer_frames_total", outcome="skipped", reason="age") == [len(old)]


async def test_the_consumer_reports_what_it_did(site: Site) -> None:
    frames = await site.publish(10, payloads={4: b"broken"})
    consumer = site.start("consume")
    await site.events([frame for frame in frames if frame is not frames[4]])
    await site.read(site.topics.deadletter, 1)
    assert sum(consumer.metric("framematch_consumer_frames_total")) == 10
    assert "gpu_absent" in site.log() or "gpu_sampled" in site.log()


@pytest.mark.parametrize(("option", "shows"), [("--json", '"camera":"till-1"'), ("--from-beginning", "till-1")])
async def test_a_watcher_shows_the_events_of_one_camera(site: Site, option: str, shows: str) -> None:
    frames = await site.publish(8, cameras=2)
    site.start("consume")
    await site.events(frames)
    command = [sys.executable, "-m", "framematch", "watch", "--from-beginning", "--camera", "till-1", option]
    watcher = await asyncio.create_subprocess_exec(*command, env=site.environment, stdout=asyncio.subprocess.PIPE)
    assert watcher.stdout is not None
    lines = [(await watcher.stdout.readline()).decode() for _ in range(4)]
    watcher.send_signal(signal.SIGINT)
    rest, _ = await watcher.communicate()
    assert [line for line in lines if shows not in line] == []
    assert (watcher.returncode, rest) == (0, b"")


def by_id(events: list[MatchEvent]) -> dict[str, set[str]]:
    """Event ids by frame id."""
    found: dict[str, set[str]] = {}
    for event in events:
        found.setdefault(event.frame.id, set()).add(event.id)
    return found


async def test_a_consumer_killed_in_the_middle_loses_nothing_and_repeats_carry_equal_ids(site: Site) -> None:
    frames = await site.publish(300)
    first = site.start("consume", FRAMEMATCH_CONSUMER__COMMIT_INTERVAL_S="60")
    await site.read(site.topics.matches, 40)
    first.kill()
    site.start("consume")
    events = await site.events(frames, timeout_s=90)
    assert len(events) > len(frames), "the killed consumer committed nothing, so its events come again"
    assert {len(ids) for ids in by_id(events).values()} == {1}


async def test_a_second_consumer_takes_over_partitions_and_nothing_is_lost(site: Site) -> None:
    early = await site.publish(150)
    first = site.start("consume")
    await site.read(site.topics.matches, 20)
    second = site.start("consume")
    late = await site.publish(100)
    events = await site.events([*early, *late])
    assert len(events) == len(early) + len(late), "the first finished and committed what it had before it gave it away"
    assert sum(first.metric("framematch_consumer_frames_total")) > 0
    assert sum(second.metric("framematch_consumer_frames_total")) > 0
