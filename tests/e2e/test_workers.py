"""Several consumers on one host, as one service."""

from tests.e2e.site import Site


async def test_workers_answer_every_frame_between_them_and_end_together(site: Site) -> None:
    service = site.start("consume", "--workers", "2")
    frames = await site.publish(60, cameras=8)
    events = await site.events(frames)
    assert len(events) == len(frames)
    answered = [sum(service.metric("framematch_consumer_frames_total", worker=number)) for number in ("1", "2")]
    assert sum(answered) == len(frames)
    assert min(answered) > 0
    service.stop()
