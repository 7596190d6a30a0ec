"""The fault matrix: whatever breaks under a working consumer, every frame is answered, in order, with equal ids."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from framematch.core.settings import KafkaSettings
from tests.e2e.cluster import name_for_the_second, two_brokers
from tests.e2e.faults import COORDINATOR_LOST, FAULTS, Delivery, Fault
from tests.e2e.feed import Feed, Sent
from tests.e2e.scene import BreakableServers, Scene
from tests.e2e.site import Site, unique_prefix
from tests.e2e.verdict import answers_due, judge
from tests.e2e.watcher import Isolation, watching
from tests.fault_table import FaultRow

ROWS = [
    pytest.param(fault, delivery, id=f"{fault.name} ({delivery})") for fault in FAULTS for delivery in fault.deliveries
]
ISOLATION: dict[Delivery, Isolation] = {"at_least_once": "read_uncommitted", "exactly_once": "read_committed"}
SETTINGS = {"FRAMEMATCH_CONSUMER__SESSION_TIMEOUT_MS": "3000"}
BEFORE, AFTER = 20, 30  # events before the fault, and frames after it


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("fault", "delivery"), ROWS)
async def test_every_frame_is_answered_in_order_though(
    fault: Fault, delivery: Delivery, breakable: BreakableServers, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    breakable.mend()
    with Site(breakable.stack, tmp_path, prefix=unique_prefix()) as site:
        row = await run(fault, delivery, site, breakable)
    row.record(request.node)


@pytest.mark.timeout(300)
async def test_every_frame_is_answered_in_order_though_the_coordinator_moves_to_another_broker(
    breakable: BreakableServers, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    breakable.mend()
    with two_brokers(tmp_path) as (first, second):
        addresses = f"{first.bootstrap_servers},{second.bootstrap_servers}"
        name = await name_for_the_second(KafkaSettings(bootstrap_servers=addresses))
        stack = replace(breakable.stack, kafka_bootstrap_servers=addresses)
        with Site(stack, tmp_path / "site", prefix=name) as site:
            row = await run(COORDINATOR_LOST, "exactly_once", site, replace(breakable, kafka=second, stack=stack))
    row.record(request.node)


async def run(fault: Fault, delivery: Delivery, site: Site, servers: BreakableServers) -> FaultRow:
    """Play one row, and judge what became of the frames."""
    site.environment |= {**SETTINGS, **fault.settings, "FRAMEMATCH_CONSUMER__DELIVERY": delivery}
    async with watching(site, ISOLATION[delivery]) as watcher:
        scene = Scene(site, servers, watcher)
        sent, recovery_s = await play(fault, scene)
        await leave(fault, scene)
        await watcher.caught_up()
        committed, ends = await scene.committed()
    verdict = judge(sent, watcher.answers)
    assert (verdict.lost, verdict.strange, verdict.unique_ratio) == (0, 0, 1.0), verdict
    assert verdict.disordered == ()
    assert verdict.skips == 0 or fault.writers > 1
    assert verdict.repeats == 0 or (fault.repeats and delivery == "at_least_once")
    assert committed == ends, "nothing is left to do"
    return FaultRow(
        fault.name, delivery, verdict.frames, verdict.lost, verdict.repeats, verdict.unique_ratio, recovery_s
    )


async def play(fault: Fault, scene: Scene) -> tuple[list[Sent], float]:
    """Let it break, and mend it, while frames come; what was sent, and how long it took to recover."""
    watcher, feed = scene.watcher, Feed(scene.site, fault.shots())
    await scene.start_consumer()
    async with asyncio.TaskGroup() as group:
        feeding = group.create_task(feed.run())
        await watcher.until(lambda: len(watcher.answers) >= BEFORE, "work has begun")
        since_s = {"break": time.monotonic()}
        try:
            await fault.break_it(scene)
            await notice(fault, scene)
        finally:
            await fault.mend_it(scene)
        since_s["mend"], count = time.monotonic(), feed.count
        await watcher.until(lambda: feed.over or feed.count >= count + AFTER, "frames come after it")
        feed.enough()
        sent = await feeding
    due = {answer_id for one in sent for answer_id in answers_due(one)}
    await watcher.until(lambda: due <= watcher.seen_at_s.keys(), "every frame is answered")
    return sent, watcher.longest_pause_s(since_s[fault.recovers_from])


async def notice(fault: Fault, scene: Scene) -> None:
    """Wait until the consumers say that it is broken."""
    for event in fault.logged:
        await scene.logs(event)
    if fault.unready:
        await scene.unready(*fault.unready)
    if not fault.kafka_is_away:
        await scene.nothing_is_committed_early()


async def leave(fault: Fault, scene: Scene) -> None:
    """Check what the consumers have told of it, and stop them."""
    for event in fault.logged_in_the_end:
        await scene.logs(event)
    for name, labels in fault.counted:
        assert sum(sum(one.metric(f"framematch_consumer_{name}", **labels)) for one in scene.running) > 0, name
    await asyncio.gather(*(asyncio.to_thread(consumer.stop) for consumer in scene.running))
