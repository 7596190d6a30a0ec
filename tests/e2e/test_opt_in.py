"""Options that are off by default: reuse for static regions, shared memory with Triton, and decoding by Triton."""

from dataclasses import replace
from pathlib import Path

import pytest

from demo.dataset import DATA_DIR
from framematch.core.events import MatchEvent
from framematch.core.local_stack import LocalStack
from tests.e2e.input_records import photos
from tests.e2e.site import Site, sequences, unique_prefix

KIWI = (DATA_DIR / "images" / "kiwi.jpg").read_bytes()
LEEK = (DATA_DIR / "images" / "leek.jpg").read_bytes()


async def test_frames_of_a_static_scene_get_events_in_order_without_the_model(site: Site) -> None:
    payloads = {number: KIWI if number < 60 else LEEK for number in range(120)}
    frames = await site.publish(120, cameras=4, payloads=payloads)
    consumer = site.start("consume", FRAMEMATCH_CONSUMER__REUSE_STATIC_REGIONS="true")
    events = await site.events(frames)
    for camera in {frame.camera for frame in frames}:
        assert sequences(events, camera) == [frame.sequence for frame in frames if frame.camera == camera]
    shown = {event.frame.id: event.candidates[0].product_id for event in events}
    assert [shown[frame.id] for frame in frames] == ["kiwi"] * 60 + ["leek"] * 60
    [reused] = consumer.metric("framematch_consumer_still_regions_total")
    assert reused > 60  # frames may reach the comparison out of order where the picture changes


async def test_pictures_reach_triton_in_shared_memory(site: Site, servers: LocalStack) -> None:
    frames = await site.publish(40)
    key = servers.triton_repository_key or ""
    site.start("consume", FRAMEMATCH_TRITON__SHARED_MEMORY="true", TRITON_REPOSITORY_KEY=key)
    await site.events(frames)
    assert "shared_memory_registered" in site.log()
    assert "shared_memory_refused" not in site.log()


def comparable(event: MatchEvent) -> MatchEvent:
    """Without what differs between two runs: times, coordinates of the record, and the last bits of similarities."""
    candidates = tuple(replace(one, score=round(one.score, 4)) for one in event.candidates)
    score, margin = (None if number is None else round(number, 4) for number in (event.score, event.margin))
    frame = replace(event.frame, topic="", partition=0, offset=0)
    return replace(
        event, frame=frame, candidates=candidates, score=score, margin=margin, timings_ms={}, sketch=None,
        sighting=None, tentative=None,
    )  # fmt: skip


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
async def test_events_are_the_same_whether_the_consumer_decodes_or_triton(
    site: Site, servers: LocalStack, tmp_path: Path, delivery: str
) -> None:
    frames = await site.publish(60)
    site.start("consume", FRAMEMATCH_CONSUMER__DELIVERY=delivery)
    expected = {event.id: comparable(event) for event in await site.events(frames)}
    with Site(servers, tmp_path / "server", prefix=unique_prefix()) as other:
        await other.send(frames)
        other.start("consume", FRAMEMATCH_CONSUMER__DECODE="server", FRAMEMATCH_CONSUMER__DELIVERY=delivery)
        events = await other.events(frames)
    assert {event.id: comparable(event) for event in events} == expected
    assert {event.decision for event in events} > {"match"}


async def test_bad_records_are_dead_letters_where_triton_decodes(site: Site) -> None:
    good, cut = next(photos()), b"\xff\xd8 no picture"
    frames = await site.publish(12, payloads={3: (good.value or b"")[:-100], 7: cut})
    site.start("consume", FRAMEMATCH_CONSUMER__DECODE="server")
    await site.events([frame for number, frame in enumerate(frames) if number not in {3, 7}])
    letters = await site.read(site.topics.deadletter, 2)
    reasons = sorted(dict(letter.headers)["deadletter_reason"].decode() for letter in letters)
    assert reasons == ["not_a_jpeg", "truncated"]
