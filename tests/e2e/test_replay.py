"""Dead letters of a real consumer, replayed after the cause is fixed."""

import asyncio

from tests.e2e.site import Site
from tests.preloaded.process import run


async def test_replayed_dead_letters_become_match_events(site: Site) -> None:
    frames = await site.publish(6)
    strict = site.start("consume", FRAMEMATCH_CONSUMER__MAX_PIXELS="10")
    dead_letters = await site.read(site.topics.deadletter, len(frames))
    strict.stop()
    site.start("consume")
    replay = ("deadletter", "replay", "--reason", "too_many_pixels", "--yes")
    assert (await asyncio.to_thread(run, *replay, environment=site.environment)).returncode == 0
    events = await site.events(frames)
    assert {event.frame.id for event in events} == {
        dict(dead_letter.headers)["ce_id"].decode() for dead_letter in dead_letters
    }
