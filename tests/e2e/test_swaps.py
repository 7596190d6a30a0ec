"""Another snapshot is activated while events flow: none is lost, none is mixed, whatever fails at the same time."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import pytest

from benchmarks.snapshots import SnapshotProducts, active_products, copy_active, mixed_events
from demo.dataset import BUNDLE_DIR
from demo.services import Service, run_framematch
from framematch.catalog.mongo import Database, connect
from framematch.catalog.operations.activation import activate
from framematch.catalog.snapshots.names import read_names, write_names
from framematch.catalog.snapshots.serving_status import read_statuses, served_by
from framematch.catalog.snapshots.storage_gridfs import GridFsStorage
from tests.e2e.delivery_result import compare, expected_ids
from tests.e2e.fault_actions import start_second_consumer, stop_second_consumer
from tests.e2e.fault_run import MATCHES, BreakableServers, FaultRun
from tests.e2e.input_records import photos
from tests.e2e.load_generator import LoadGenerator, SentRecord
from tests.e2e.models import retrained
from tests.e2e.site import Site, log_lines, unique_prefix
from tests.e2e.subscriber import subscribed
from tests.support import eventually, freeze, resume

pytestmark = [pytest.mark.usefixtures("untraced_processes"), pytest.mark.timeout(300)]

SWAPS = 12
BEFORE = 20  # events before the swap
SETTINGS = {
    "FRAMEMATCH_SNAPSHOTS__POLL_S": "0.1",
    "FRAMEMATCH_CONSUMER__SESSION_TIMEOUT_MS": "6000",
    "FRAMEMATCH_CONSUMER__REUSE_STATIC_REGIONS": "true",
    **MATCHES,
}


@dataclass(frozen=True)
class Swaps:
    """A run under load, and three snapshots without a common product, of which the first is active at the start.

    `state` is the folder in which the consumers keep snapshots.
    """

    run: FaultRun
    database: Database
    snapshots: list[SnapshotProducts]
    state: Path

    async def activate(self, number: int) -> str:
        """Activate a snapshot; returns its id."""
        await activate(self.database, self.snapshots[number].id)
        return self.snapshots[number].id

    async def wait_named(self, snapshot_id: str) -> None:
        """Wait until every running consumer serves this snapshot, as its document says."""

        async def served() -> bool:
            return served_by(await read_statuses(self.database), snapshot_id) == len(self.run.running)

        await eventually(served, timeout_s=60, message=f"all serve {snapshot_id}")

    async def wait_served(self, snapshot_id: str) -> None:
        """Wait until every running consumer serves this snapshot, as its metrics say, and events name it."""
        for consumer in self.run.running:
            await eventually(partial(serves, consumer, snapshot_id), timeout_s=60, message=f"serves {snapshot_id}")
        before = len(self.run.subscriber.events)
        await self.run.subscriber.wait_for(
            lambda: {event.snapshot for event in self.run.subscriber.events[before:]} >= {snapshot_id},
            "events of the new snapshot",
        )


def serves(consumer: Service, snapshot_id: str) -> bool:
    """Whether a consumer says that it serves this snapshot, and no other."""
    info = "framematch_consumer_snapshot_info"
    return consumer.metric(info) == consumer.metric(info, snapshot=snapshot_id) == [1.0]


@pytest.fixture
async def swaps(breakable: BreakableServers, tmp_path: Path) -> AsyncIterator[Swaps]:
    """One consumer under load. At the end every frame has its events once, in order, each of one snapshot."""
    breakable.recover()
    state = tmp_path / "consumer"
    state.mkdir()
    with Site(breakable.stack, tmp_path / "site", prefix=unique_prefix()) as site:
        site.environment |= SETTINGS | {"FRAMEMATCH_STATE_DIR": str(state)}
        async with (
            stored_snapshots(breakable, tmp_path / "cache") as (database, snapshots),
            subscribed(site, "read_uncommitted") as subscriber,
            asyncio.TaskGroup() as group,
        ):
            own = Swaps(FaultRun(site, breakable, subscriber), database, list(snapshots), state)
            load = LoadGenerator(site, photos())
            await own.run.start_consumer()
            sending = group.create_task(load.run())
            await subscriber.wait_for(lambda: len(subscriber.outputs) >= BEFORE, "outputs before the swap")
            yield own
            load.stop()
            await check_outputs(own, await sending)


async def check_outputs(swaps: Swaps, sent: list[SentRecord]) -> None:
    """Wait for all outputs, and stop the consumers; fail when one is lost, doubled, out of order or mixed."""
    subscriber, running = swaps.run.subscriber, swaps.run.running
    expected = {output_id for record in sent for output_id in expected_ids(record)}
    await subscriber.wait_for(lambda: expected <= subscriber.first_seen_s.keys(), "every frame has its outputs")
    await asyncio.gather(*(asyncio.to_thread(consumer.stop) for consumer in running))
    assert await read_statuses(swaps.database) == [], "a clean exit removes the document"
    await subscriber.catch_up()
    result = compare(sent, subscriber.outputs)
    assert (result.lost, result.unexpected, result.repeats, result.disordered) == (0, 0, 0, ()), result
    assert mixed_events(subscriber.events, swaps.snapshots) == []


@asynccontextmanager
async def stored_snapshots(
    servers: BreakableServers, cache: Path
) -> AsyncIterator[tuple[Database, tuple[SnapshotProducts, ...]]]:
    """The active snapshot and two copies; the same one is active again at the end."""
    async with await connect(servers.mongodb.uri) as client:
        database = client["framematch"]
        first, run = await active_products(database, cache), unique_prefix()
        copies = [await copy_active(database, cache, f"{run}-{number}") for number in (1, 2)]
        try:
            yield database, (first, *copies)
        finally:
            servers.recover()
            names = await read_names(database)
            await write_names(database, names, names.with_active(first.id))


async def activate_in_turn(swaps: Swaps, stop: asyncio.Event) -> None:
    """Activate one snapshot after the other until `stop` is set."""
    for number in cycle((1, 2, 0)):
        if stop.is_set():
            break
        await swaps.wait_named(await swaps.activate(number))


async def test_many_swaps_lose_and_mix_nothing(swaps: Swaps) -> None:
    second = await swaps.run.start_consumer()
    for number in islice(cycle((1, 2, 0)), SWAPS):
        last = await swaps.activate(number)
        await swaps.wait_named(last)
    await swaps.wait_served(last)
    for consumer in (swaps.run.first, second):
        assert consumer.metric("framematch_consumer_snapshot_swap_seconds_count") == [SWAPS]
    statuses = await read_statuses(swaps.database)
    assert (served_by(statuses, last), len(statuses)) == (2, 2)
    assert {event.snapshot for event in swaps.run.subscriber.events} == {one.id for one in swaps.snapshots}


async def test_a_snapshot_that_is_deleted_while_it_is_served_disturbs_no_frame(swaps: Swaps) -> None:
    served = await swaps.activate(1)
    await swaps.wait_served(served)
    freeze(swaps.run.first.pid)  # it goes on with this one when it wakes up
    new = await swaps.activate(2)
    await swaps.database.snapshots.delete_one({"_id": served})
    await GridFsStorage(swaps.database).delete(served)
    shutil.rmtree(swaps.state / "snapshots" / served)
    resume(swaps.run.first.pid)
    await swaps.wait_served(new)


async def test_swaps_while_the_group_rebalances(swaps: Swaps) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(activate_in_turn(swaps, stop))
        await start_second_consumer(swaps.run)
        await stop_second_consumer(swaps.run)
        stop.set()
    await swaps.wait_served(await swaps.activate(1))


async def test_a_change_of_the_model_with_its_index(swaps: Swaps, tmp_path: Path) -> None:
    triton = swaps.run.servers.triton
    environment = swaps.run.site.environment | {"TRITON_REPOSITORY_KEY": triton.repository_key}
    bundle = retrained(BUNDLE_DIR, tmp_path / "bundle")
    await asyncio.to_thread(
        run_framematch, "model", "build", "--from", str(bundle), "--out", str(triton.model_repository),
        environment=environment,
    )  # fmt: skip
    assert len(log_lines(swaps.run.first.log, "snapshot_served")) == 1, "the old model goes on"
    await asyncio.to_thread(run_framematch, "catalog", "build", environment=environment)
    new = await active_products(swaps.database, tmp_path / "cache")
    swaps.snapshots.append(new)
    await swaps.wait_served(new.id)
    models = {(event.snapshot, event.model.digest) for event in swaps.run.subscriber.events}
    assert len(models) == len(set(dict(models).values())) == 2, "each snapshot has its own model"


async def test_a_swap_while_triton_restarts(swaps: Swaps) -> None:
    await asyncio.to_thread(swaps.run.servers.triton.kill)
    new = await swaps.activate(1)
    await swaps.run.wait_logged("snapshot_refused")
    await swaps.run.wait_logged("inference_retried")
    await asyncio.to_thread(swaps.run.servers.triton.start)
    await swaps.wait_served(new)


async def test_a_swap_while_mongodb_is_away(swaps: Swaps) -> None:
    await swaps.activate(1)
    await asyncio.to_thread(swaps.run.servers.mongodb.kill)
    await swaps.run.wait_logged("snapshot_names_unavailable")
    subscriber = swaps.run.subscriber
    before = len(subscriber.events)
    await subscriber.wait_for(lambda: len(subscriber.events) > before + BEFORE, "events without MongoDB")
    assert set(await asyncio.to_thread(swaps.run.first.readiness)) == {"kafka", "triton", "snapshot", "output"}
    await asyncio.to_thread(swaps.run.servers.mongodb.start)
    # The local server may have lost the last second before it was killed.
    await swaps.wait_served(await swaps.activate(1))
    assert len(swaps.run.site.logged("snapshot_names_unavailable")) == 1


async def test_a_swap_while_the_disk_is_full(swaps: Swaps) -> None:
    with small_disk(swaps.state / "snapshots") as filler:
        new = await swaps.activate(1)
        await swaps.run.wait_logged("snapshot_refused")
        [refused] = swaps.run.site.logged("snapshot_refused")
        assert refused["reason"].endswith("No space left on device")
        filler.unlink()
        await swaps.wait_served(new)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A full disk in this folder; without the file that it yields, there is space."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    filler = folder / "filler"
    try:
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1_000))
        yield filler
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


async def test_a_consumer_that_was_away_for_three_versions_serves_the_last(swaps: Swaps) -> None:
    consumer = swaps.run.first
    freeze(consumer.pid)
    for number in (1, 2, 0):
        await swaps.activate(number)
    last = await swaps.activate(2)
    resume(consumer.pid)
    await swaps.wait_served(last)
    assert [line["new"] for line in log_lines(consumer.log, "snapshot_served")] == [swaps.snapshots[0].id, last]


async def test_a_snapshot_that_does_not_exist_is_refused_and_reported_and_the_old_one_goes_on(swaps: Swaps) -> None:
    consumer, old, unknown = swaps.run.first, swaps.snapshots[0].id, "20200101T000000Z-none"
    names = await read_names(swaps.database)
    await write_names(swaps.database, names, names.with_active(unknown))
    await swaps.run.wait_logged("snapshot_refused")
    note = (await asyncio.to_thread(consumer.readiness))["snapshot"]
    assert note == f"ok (the active snapshot {unknown} is refused: there is no snapshot '{unknown}')"
    assert consumer.metric("framematch_consumer_snapshot_refused", role="active") == [1.0]
    await eventually(lambda: refused_by(swaps.database, unknown), message="its document says so")
    await swaps.wait_served(old)
    await swaps.wait_served(await swaps.activate(1))
    assert (await asyncio.to_thread(consumer.readiness))["snapshot"] == "ok"


async def refused_by(database: Database, snapshot_id: str) -> bool:
    [status] = await read_statuses(database)
    return status.refused is not None and status.refused.snapshot == snapshot_id
