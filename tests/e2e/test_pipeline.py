"""The data flow of a frame through real processes and real servers."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import jsonschema
import pytest

from demo.dataset import DATA_DIR, load_photos
from framematch.core.events import json_schema
from tests.e2e.site import Site
from tests.support import eventually

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def folder_of_photos(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number, photo in enumerate(load_photos()[:count]):
        (folder / f"{number:04}.jpg").write_bytes((DATA_DIR / photo.file).read_bytes())
    return folder


async def test_every_picture_of_a_folder_becomes_a_match_event_that_conforms_to_the_schema(site: Site) -> None:
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


async def test_a_match_contains_the_product_data_of_the_catalogue(site: Site) -> None:
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


async def test_a_dead_letter_is_the_record_byte_for_byte_with_its_position(site: Site) -> None:
    frames = await site.publish(3, cameras=1, payloads={1: PNG})
    site.start("consume")
    [dead_letter] = await site.read(site.topics.deadletter, 1)
    [_, bad, _] = await site.read(site.topics.frames, 3)
    assert (dead_letter.key, dead_letter.value) == (bad.key, PNG)
    assert list(dead_letter.headers)[: len(bad.headers)] == list(bad.headers)
    headers = dict(dead_letter.headers)
    assert headers["deadletter_topic"].decode() == site.topics.frames
    assert headers["deadletter_partition"].decode() == str(bad.partition)
    assert headers["deadletter_offset"].decode() == "1"
    assert headers["deadletter_reason"].decode() == "not_a_jpeg"
    assert headers["ce_id"].decode() == frames[1].id


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
    recent = await site.publish(6)
    consumer = site.start("consume", FRAMEMATCH_CONSUMER__MAX_AGE_S="600")
    events = await site.events(recent)
    assert {event.frame.id for event in events} == {frame.id for frame in recent}
    assert consumer.metric("framematch_consumer_frames_total", outcome="skipped", reason="age") == [len(old)]


async def test_a_frame_with_two_records_gives_its_events_once(site: Site) -> None:
    frames = await site.publish(6)
    await site.send(frames)
    later = await site.publish(4)
    consumer = site.start("consume", FRAMEMATCH_CONSUMER__DELIVERY="exactly_once")
    events = await site.events(later)
    assert sorted(event.frame.id for event in events) == sorted(frame.id for frame in frames + later)

    def repeats() -> list[float]:
        return consumer.metric("framematch_consumer_frames_total", outcome="skipped", reason="repeat")

    await eventually(lambda: repeats() == [len(frames)], message="all repeats are counted")


async def test_the_consumer_counts_its_frames_and_logs_the_gpu(site: Site) -> None:
    frames = await site.publish(10, payloads={4: b"broken"})
    consumer = site.start("consume")
    await site.events([frame for frame in frames if frame is not frames[4]])
    await site.read(site.topics.deadletter, 1)
    assert sum(consumer.metric("framematch_consumer_frames_total")) == 10
    assert "gpu_absent" in site.log() or "gpu_sampled" in site.log()


@pytest.mark.parametrize(("option", "shows"), [("--json", '"camera":"till-1"'), ("--from-beginning", "till-1")])
async def test_watch_shows_the_events_of_one_camera(site: Site, option: str, shows: str) -> None:
    frames = await site.publish(8, cameras=2)
    site.start("consume")
    await site.events(frames)
    command = [sys.executable, "-m", "framematch", "watch", "--from-beginning", "--camera", "till-1", option]
    watch = await asyncio.create_subprocess_exec(*command, env=site.environment, stdout=asyncio.subprocess.PIPE)
    assert watch.stdout is not None
    lines = [(await watch.stdout.readline()).decode() for _ in range(4)]
    watch.send_signal(signal.SIGINT)
    rest, _ = await watch.communicate()
    assert [line for line in lines if shows not in line] == []
    assert (watch.returncode, rest) == (0, b"")
