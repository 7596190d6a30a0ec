"""Several consumer processes as one service."""

from tests.e2e.site import Site


async def test_workers_share_the_frames_and_end_together(site: Site) -> None:
    service = site.start("consume", "--workers", "2")
    frames = await site.publish(60, cameras=8)
    events = await site.events(frames)
    assert len(events) == len(frames)
    processed = [sum(service.metric("framematch_consumer_frames_total", worker=number)) for number in ("1", "2")]
    assert sum(processed) == len(frames)
    assert min(processed) > 0
    service.stop()
