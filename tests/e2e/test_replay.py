"""Dead letters of a real consumer, sent again once the cause is gone."""

import asyncio
import sys

from tests.e2e.site import Site


async def test_frames_that_a_consumer_refused_give_their_events_when_they_are_replayed(site: Site) -> None:
    frames = await site.publish(6)
    strict = site.start("consume", FRAMEMATCH_CONSUMER__MAX_PIXELS="10")
    letters = await site.read(site.topics.deadletter, len(frames))
    strict.stop()
    site.start("consume")
    command = [sys.executable, "-m", "framematch", "deadletter", "replay", "--reason", "too_many_pixels", "--yes"]
    replay = await asyncio.create_subprocess_exec(*command, env=site.environment)
    assert await replay.wait() == 0
    events = await site.events(frames)
    assert {event.frame.id for event in events} == {dict(letter.headers)["ce_id"].decode() for letter in letters}
