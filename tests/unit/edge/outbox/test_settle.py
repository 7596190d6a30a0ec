"""At its end an outbox waits for Kafka only while that can gain something."""

import asyncio
from pathlib import Path

import pytest

from tests.unit.edge.outbox.scripted import Bench


async def settling(bench: Bench) -> asyncio.Task[None]:
    bench.recovery.cancel()
    task = asyncio.create_task(bench.outbox.settle())
    await bench.turn()
    return task


async def test_while_kafka_is_silent_and_all_is_on_disk_it_does_not_wait(tmp_path: Path) -> None:
    bench = Bench(tmp_path).start()
    await bench.put(3)
    await bench.stall()
    await bench.put(2)
    assert (await settling(bench)).done()
    assert await bench.end() == 5
    assert bench.rows() == 5


async def test_what_is_not_on_disk_yet_is_written_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path).start()
    await bench.put(3)
    bench.clock.now_s += 1.5  # nobody has noticed yet
    assert (await settling(bench)).done()
    assert await bench.end() == 3


async def test_it_waits_for_a_kafka_that_answers(tmp_path: Path) -> None:
    bench = Bench(tmp_path).start()
    await bench.put(3)
    task = await settling(bench)
    for _ in range(2):
        bench.clock.now_s += 0.9
        bench.producer.acknowledge(1)
        await bench.turn()
        assert not task.done()
    bench.producer.acknowledge()
    await asyncio.wait_for(task, 30)
    assert bench.written == [1, 2, 3]
    assert await bench.end() == 0


async def test_a_kafka_that_falls_silent_meanwhile_is_given_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path, after_s=0.01).start()
    await bench.put(3)
    task = await settling(bench)
    assert not task.done()
    bench.clock.now_s += 1.5
    await asyncio.wait_for(task, 30)
    assert await bench.end() == 3


@pytest.mark.parametrize("stalled", [True, False])
async def test_without_a_spool_it_waits_until_it_is_told_to_stop(tmp_path: Path, stalled: bool) -> None:
    bench = Bench(tmp_path, with_spool=False, after_s=0.01).start()
    await bench.put(3)
    bench.clock.now_s += 1.5 * stalled
    task = await settling(bench)
    assert not task.done()
    bench.producer.acknowledge()
    await asyncio.wait_for(task, 30)
    assert bench.written == [1, 2, 3]


async def test_an_outbox_without_frames_in_flight_does_not_wait(tmp_path: Path) -> None:
    assert (await settling(Bench(tmp_path).start())).done()
