"""Several consumer processes as one service, and those that are killed."""

import os
import signal

import pytest

from tests.e2e.site import Site
from tests.support import eventually

LONG_SESSION_MS = "600000"  # none ends while a test waits


async def test_workers_share_the_frames_and_end_together(site: Site) -> None:
    service = site.start("consume", "--workers", "2")
    frames = await site.publish(60, cameras=8)
    events = await site.events(frames)
    assert len(events) == len(frames)
    processed = [sum(service.metric("framematch_consumer_frames_total", worker=number)) for number in ("1", "2")]
    assert sum(processed) == len(frames)
    assert min(processed) > 0
    service.stop()


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
async def test_the_partitions_of_a_killed_worker_are_served_before_its_session_ends(site: Site, delivery: str) -> None:
    site.environment["FRAMEMATCH_CONSUMER__SESSION_TIMEOUT_MS"] = LONG_SESSION_MS
    service = site.start("consume", "--workers", "2", FRAMEMATCH_CONSUMER__DELIVERY=delivery)
    await site.events(await site.publish(24, cameras=8))
    [killed] = [line["pid"] for line in site.logged("worker_started") if line["worker"] == "1"]
    os.kill(killed, signal.SIGKILL)
    await site.events(await site.publish(24, cameras=8))
    assert len(site.logged("dead_members_removed")) == 1
    service.stop()
    assert len(site.logged("dead_members_removed")) == 1  # those that left by themselves are not dead


async def test_a_consumer_that_is_started_again_after_a_kill_has_its_partitions_before_the_session_ends(
    site: Site,
) -> None:
    site.environment["FRAMEMATCH_CONSUMER__SESSION_TIMEOUT_MS"] = LONG_SESSION_MS
    killed = site.start("consume")
    await site.events(await site.publish(8))
    os.kill(killed.pid, signal.SIGKILL)
    await eventually(lambda: not killed.running)
    site.start("consume")
    await site.events(await site.publish(8))
    assert len(site.logged("dead_members_removed")) == 1
