"""Optimisations that are off by default: reuse for static regions, and shared memory with Triton."""

from demo.dataset import DATA_DIR
from framematch.core.local_stack import LocalStack
from tests.e2e.site import Site, sequences

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
