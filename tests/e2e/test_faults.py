"""The fault matrix: every frame gets its outputs, in order and with stable ids, whatever fails under the consumer."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from framematch.core.settings import KafkaSettings
from tests.e2e.cluster import prefix_coordinated_by_second, two_brokers
from tests.e2e.delivery_result import compare, expected_ids
from tests.e2e.fault_run import MATCHES, BreakableServers, FaultRun
from tests.e2e.faults import COORDINATOR_LOST, FAULTS, Delivery, Fault
from tests.e2e.load_generator import LoadGenerator, SentRecord
from tests.e2e.site import Site, unique_prefix
from tests.e2e.subscriber import Isolation, subscribed
from tests.fault_table import FaultRow

pytestmark = pytest.mark.usefixtures("untraced_processes")

ROWS = [
    pytest.param(fault, delivery, id=f"{fault.name} ({delivery})") for fault in FAULTS for delivery in fault.deliveries
]
ISOLATION: dict[Delivery, Isolation] = {"at_least_once": "read_uncommitted", "exactly_once": "read_committed"}
SETTINGS = {"FRAMEMATCH_CONSUMER__SESSION_TIMEOUT_MS": "3000", **MATCHES}
BEFORE, AFTER = 20, 30  # events before the fault, and frames after it


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("fault", "delivery"), ROWS)
async def test_every_frame_gets_its_outputs_in_order_when(
    fault: Fault, delivery: Delivery, breakable: BreakableServers, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    breakable.recover()
    with Site(breakable.stack, tmp_path, prefix=unique_prefix()) as site:
        row = await run_fault(fault, delivery, site, breakable)
    row.record(request.node)


@pytest.mark.timeout(300)
async def test_every_frame_gets_its_outputs_in_order_when_the_coordinator_moves_to_another_broker(
    breakable: BreakableServers, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    breakable.recover()
    with two_brokers(tmp_path) as (first, second):
        addresses = f"{first.bootstrap_servers},{second.bootstrap_servers}"
        prefix = await prefix_coordinated_by_second(KafkaSettings(bootstrap_servers=addresses))
        stack = replace(breakable.stack, kafka_bootstrap_servers=addresses)
        with Site(stack, tmp_path / "site", prefix=prefix) as site:
            row = await run_fault(COORDINATOR_LOST, "exactly_once", site, replace(breakable, kafka=second, stack=stack))
    row.record(request.node)


async def run_fault(fault: Fault, delivery: Delivery, site: Site, servers: BreakableServers) -> FaultRow:
    """Run one row of the matrix, and check the outputs and the committed offsets."""
    site.environment |= {**SETTINGS, **fault.settings, "FRAMEMATCH_CONSUMER__DELIVERY": delivery}
    async with subscribed(site, ISOLATION[delivery]) as subscriber:
        run = FaultRun(site, servers, subscriber)
        sent, recovery_s = await inject_and_recover(fault, run)
        await check_reports_and_stop(fault, run)
        await subscriber.catch_up()
        committed, ends = await run.offsets()
    result = compare(sent, subscriber.outputs)
    assert (result.lost, result.unexpected, result.unique_ratio) == (0, 0, 1.0), result
    assert result.disordered == ()
    assert result.skips == 0 or fault.writers > 1
    assert result.repeats == 0 or (fault.may_repeat and delivery == "at_least_once")
    assert committed == ends, "every frame is committed"
    return FaultRow(fault.name, delivery, result.frames, result.lost, result.repeats, result.unique_ratio, recovery_s)


async def inject_and_recover(fault: Fault, run: FaultRun) -> tuple[list[SentRecord], float]:
    """Inject the fault and recover from it under load; returns the records sent, and the recovery time."""
    subscriber, load = run.subscriber, LoadGenerator(run.site, fault.records())
    await run.start_consumer()
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(load.run())
        await subscriber.wait_for(lambda: len(subscriber.outputs) >= BEFORE, "outputs before the fault")
        since_s = {"injection": time.monotonic()}
        try:
            await fault.inject(run)
            await wait_reported(fault, run)
        finally:
            await fault.recover(run)
        since_s["recovery"], count = time.monotonic(), load.count
        await subscriber.wait_for(lambda: load.finished or load.count >= count + AFTER, "frames after the recovery")
        load.stop()
        sent = await sending
    expected = {output_id for record in sent for output_id in expected_ids(record)}
    await subscriber.wait_for(lambda: expected <= subscriber.first_seen_s.keys(), "every frame has its outputs")
    return sent, subscriber.longest_pause_s(since_s[fault.recovery_timed_from])


async def wait_reported(fault: Fault, run: FaultRun) -> None:
    """Wait until the consumers report the fault, and check that they have committed nothing too early."""
    for event in fault.logged:
        await run.wait_logged(event)
    if fault.unready:
        await run.wait_unready(*fault.unready)
    if not fault.kafka_unreachable:
        await run.check_no_early_commit()


async def check_reports_and_stop(fault: Fault, run: FaultRun) -> None:
    """Check the log events and metrics after the recovery, and stop the consumers."""
    for event in fault.logged_at_end:
        await run.wait_logged(event)
    for name, labels in fault.counted:
        assert sum(sum(one.metric(f"framematch_consumer_{name}", **labels)) for one in run.running) > 0, name
    await asyncio.gather(*(asyncio.to_thread(consumer.stop) for consumer in run.running))
