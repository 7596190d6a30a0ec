"""An outbox counts each frame once, keeps the order, and replays what it spooled."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.errors import InvalidTimestampError, MessageSizeTooLargeError, NotLeaderForPartitionError, UnknownError
from structlog.testing import capture_logs

from edge.outbox.outbox import Outbox, State
from edge.outbox.recovery import Recovery
from framematch.core.frames import parse_frame
from tests.unit.edge.outbox.scripted import Bench, FakeStats, ManualExecutor
from tests.unit.edge.outbox.spool_program import new_spool, spooled


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    started = Bench(tmp_path).start()
    yield started
    await started.end()


async def test_a_frame_is_sent_at_once_and_counted_when_acknowledged(bench: Bench) -> None:
    await bench.put()
    assert (len(bench.producer.queue), bench.stats.published_frames, len(bench.outbox.pending)) == (1, 0, 1)
    bench.producer.acknowledge()
    await bench.turn()
    assert (bench.stats.published_frames, len(bench.outbox.pending)) == (1, 0)
    assert not bench.path.exists()


async def test_a_frame_larger_than_max_message_bytes_is_never_sent(bench: Bench) -> None:
    await bench.put(size=1_001)
    assert (bench.producer.sent, dict(bench.stats.drops)) == ([], {("publish", "too_large"): 1})


async def test_without_acknowledgements_new_frames_and_those_in_flight_are_spooled(bench: Bench) -> None:
    await bench.put(3)
    await bench.stall()
    await bench.put(2)
    assert bench.outbox.state is State.SPOOLING
    assert (len(bench.outbox.pending), bench.outbox.spooled_frames, bench.outbox.spooled_bytes) == (3, 2, 500)
    assert len(bench.producer.sent) == 3


async def test_when_kafka_acknowledges_again_the_spool_is_replayed_in_order_and_removed(bench: Bench) -> None:
    await bench.put(3)
    await bench.stall()
    await bench.put(4)
    bench.producer.acknowledge()
    await bench.turn()
    await bench.put()  # it is spooled behind the others
    bench.producer.acknowledge()
    await bench.turn()
    bench.producer.acknowledge()
    await bench.turn()
    await bench.turn()
    assert bench.written == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [frame.replayed for frame in bench.producer.written] == [False] * 3 + [True] * 5
    assert bench.stats.published_frames == 8
    assert bench.outbox.state is State.DIRECT
    assert not bench.path.exists()


async def test_an_empty_file_is_kept_for_a_while_as_frames_may_be_spooled_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, keep_file_s=60.0).start()
    await bench.put(3)
    await bench.stall()
    bench.producer.acknowledge()
    await bench.turn()
    assert (bench.outbox.state, bench.path.exists()) == (State.DIRECT, True)
    await bench.put()
    await bench.stall()
    bench.producer.acknowledge()
    await bench.turn()
    assert (bench.outbox.state, bench.written) == (State.DIRECT, [1, 2, 3, 4])
    assert await bench.end() == 0
    assert not bench.path.exists()


async def test_without_a_connection_frames_are_spooled_until_there_is_one(bench: Bench) -> None:
    bench.producer.connected_event.clear()
    await bench.put(5)
    assert (bench.outbox.spooled_frames, bench.producer.sent) == (5, [])
    bench.producer.renew()
    for _ in range(4):
        await bench.turn()
        bench.producer.acknowledge()
    await bench.turn()
    assert bench.written == [1, 2, 3, 4, 5]
    assert bench.outbox.state is State.DIRECT


async def test_a_full_window_bounds_memory_and_new_frames_are_spooled(bench: Bench) -> None:
    await bench.put(20)
    assert (len(bench.outbox.pending), bench.outbox.spooled_frames) == (8, 12)
    assert bench.context.window.frames == 8


async def test_after_a_retriable_error_all_frames_are_sent_again_in_order(bench: Bench) -> None:
    await bench.put(3)
    bench.producer.fail(NotLeaderForPartitionError())
    await bench.turn()
    await bench.put()
    bench.producer.renew()
    for _ in range(5):
        await bench.turn()
        bench.producer.acknowledge()
    await bench.turn()
    assert bench.written == [1, 2, 3, 4]
    assert (bench.stats.published_frames, bench.stats.drops) == (4, {})


async def test_of_a_rejected_batch_only_the_frame_that_is_rejected_in_isolation_is_dropped(bench: Bench) -> None:
    await bench.put(3)
    bench.producer.fail(MessageSizeTooLargeError(), count=3)
    for _ in range(8):
        await bench.turn()
        bench.producer.renew()
        if bench.producer.queue and bench.producer.queue[0][0].sequence == 2:
            assert bench.producer.queue[0][2], "it is isolated"
            bench.producer.fail(MessageSizeTooLargeError())
        else:
            bench.producer.acknowledge()
    await bench.turn()
    assert bench.written == [1, 3]
    assert dict(bench.stats.drops) == {("publish", "too_large"): 1}


@pytest.mark.parametrize(("error", "times"), [(InvalidTimestampError(), 2), (UnknownError(), 4)])
async def test_a_frame_that_is_rejected_repeatedly_is_dropped_and_later_ones_are_sent(
    bench: Bench, error: Exception, times: int
) -> None:
    await bench.put()
    for _ in range(times):
        await bench.turn()
        bench.producer.fail(error)
        bench.producer.renew()
    await bench.turn()
    assert dict(bench.stats.drops) == {("publish", "refused"): 1}
    await bench.turn()
    await bench.put()
    bench.producer.acknowledge()
    await bench.turn()
    assert bench.stats.published_frames == 1


async def test_a_full_spool_drops_the_oldest_waiting_frames_but_none_in_flight(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_frames=5).start()
    await bench.put(2)
    await bench.stall()
    await bench.put(6)
    assert (len(bench.outbox.pending), bench.outbox.spooled_frames) == (2, 3)
    assert dict(bench.stats.drops) == {("spool", "full"): 3}
    for _ in range(4):
        bench.producer.acknowledge()
        await bench.turn()
    assert bench.written == [1, 2, 6, 7, 8]
    await bench.end()


async def test_spooled_frames_older_than_max_age_s_are_dropped_and_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_age_s=60).start()
    bench.producer.connected_event.clear()
    await bench.put(2)
    bench.clock.now_s += 61
    await bench.put(1)
    await bench.outbox.upkeep()
    assert (bench.outbox.spooled_frames, dict(bench.stats.drops)) == (1, {("spool", "age"): 2})
    await bench.end()


async def test_frames_not_acknowledged_at_the_end_are_spooled_and_sent_first_next_time(
    tmp_path: Path,
) -> None:
    first = Bench(tmp_path).start()
    await first.put(3)
    first.producer.acknowledge(1)
    await first.turn()
    assert await first.end() == 2
    second = Bench(tmp_path, sequence=10).start()
    await second.put(2)
    for _ in range(4):
        await second.turn()
        second.producer.acknowledge()
    await second.turn()
    assert second.written == [2, 3, 11, 12]
    assert await second.end() == 0
    assert not second.path.exists()


async def test_a_source_that_is_not_live_waits_instead_of_spooling(tmp_path: Path) -> None:
    bench = Bench(tmp_path, live=False, window=2).start()
    putting = asyncio.create_task(bench.put(4))
    await bench.turn()
    await bench.stall()
    assert (len(bench.producer.sent), putting.done(), bench.path.exists()) == (2, False, False)
    for _ in range(3):
        bench.producer.acknowledge()
        await bench.turn()
    await putting
    await asyncio.wait_for(bench.outbox.drained(), 10)
    assert bench.written == [1, 2, 3, 4]
    await bench.end()


async def test_without_a_spool_a_live_camera_drops_frames_when_the_window_is_full(tmp_path: Path) -> None:
    bench = Bench(tmp_path, with_spool=False, window=2).start()
    await bench.put(5)
    assert (len(bench.producer.sent), dict(bench.stats.drops)) == (2, {("put", "kafka_away"): 3})
    bench.producer.acknowledge()
    await bench.turn()
    await bench.put()
    assert len(bench.producer.sent) == 3
    await bench.end()
    assert bench.stats.drops["publish", "kafka_away"] == 1, "a frame without an acknowledgement is counted as dropped"


async def test_it_is_stalled_only_while_frames_wait_for_kafka(bench: Bench) -> None:
    bench.clock.now_s += 100
    assert bench.outbox.stalled_s == 0
    await bench.put()
    bench.clock.now_s += 3
    assert bench.outbox.stalled_s == 3
    bench.producer.acknowledge()
    await bench.turn()
    assert bench.outbox.stalled_s == 0


async def test_a_record_is_the_jpeg_with_key_headers_and_capture_time(bench: Bench) -> None:
    outgoing = bench.next_frame()
    await bench.outbox.put(outgoing)
    [record] = bench.producer.records
    assert (record.topic, record.key, record.value) == ("p.frames", b"till-1", outgoing.jpeg)
    assert record.timestamp_ms == outgoing.frame.captured_at_us // 1_000
    assert parse_frame(record.key, record.headers) == outgoing.frame


async def test_frames_that_cannot_be_written_to_disk_are_dropped_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.write_text("a file, where the folder should be")
    bench = Bench(folder).start()
    await bench.put(2)
    bench.producer.connected_event.clear()
    await bench.put(3)
    assert dict(bench.stats.drops) == {("spool", "spool_failed"): 3}
    folder.unlink()
    await bench.put(2)
    assert bench.outbox.spooled_frames == 2
    for _ in range(3):
        bench.producer.acknowledge()
        bench.producer.renew()
        await bench.turn()
    assert bench.written == [1, 2, 6, 7]
    assert bench.outbox.state is State.DIRECT
    await bench.end()


async def test_while_another_process_locks_the_spool_new_frames_are_still_sent(tmp_path: Path) -> None:
    other = new_spool(tmp_path / "till-1.sqlite")
    other.append([spooled(1)])
    bench = Bench(tmp_path).start()
    await bench.put()
    await bench.turn()
    await bench.put()
    assert dict(bench.stats.drops) == {("spool", "spool_locked"): 1}
    await bench.outbox.upkeep()
    await bench.put()
    assert [frame.sequence for frame in bench.producer.sent] == [2, 3]
    assert other.waiting == 1
    other.close()
    bench.producer.acknowledge()
    await bench.turn()
    await bench.outbox.upkeep()
    await bench.turn()
    bench.producer.acknowledge()
    await bench.turn()
    assert bench.written == [2, 3, 1]
    assert sum(bench.stats.drops.values()) == 1
    assert await bench.end() == 0


async def test_a_replay_sends_the_next_frames_while_earlier_ones_are_in_flight(bench: Bench) -> None:
    bench.producer.connected_event.clear()
    await bench.put(9)
    bench.producer.renew()
    await bench.turn()
    assert len(bench.producer.queue) == 6, "three quarters of the window"
    bench.producer.acknowledge(1)
    await bench.turn()
    assert len(bench.producer.queue) == 6
    assert [frame.sequence for frame in bench.producer.sent] == [1, 2, 3, 4, 5, 6, 7]


async def test_while_a_camera_reads_its_spool_others_leave_the_window_to_frames_in_flight(tmp_path: Path) -> None:
    for camera in ("till-1", "till-2"):
        earlier = new_spool(tmp_path / f"{camera}.sqlite")
        earlier.append([spooled(number, 100) for number in range(1, 11)])
        earlier.close()
    executor = ManualExecutor()
    bench = Bench(tmp_path, window=16, executor=executor).start()
    second = Outbox("till-2", FakeStats("till-2"), new_spool(tmp_path / "till-2.sqlite"), bench.context, live=True)
    recovery = asyncio.create_task(Recovery(second).run())
    for _ in range(4):
        await bench.turn()
        assert bench.context.window.frames == len(bench.producer.queue) + 3, "one chunk is being read"
        executor.run_all()
    await bench.turn()
    assert [frame.sequence for frame in bench.producer.sent] == [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6], "in turn"
    executor.immediate = True
    for _ in range(10):
        bench.producer.acknowledge()
        await bench.turn()
    assert len(bench.producer.written) == 20
    recovery.cancel()
    await second.close()
    await bench.end()


async def test_a_replay_that_fails_while_it_waits_for_the_window_starts_again_at_the_failed_frame(bench: Bench) -> None:
    bench.producer.connected_event.clear()
    await bench.put(9)
    bench.producer.renew()
    await bench.turn()
    bench.producer.acknowledge(1)
    await bench.turn()
    bench.producer.fail(NotLeaderForPartitionError())
    await bench.turn()
    assert (bench.context.window.frames, bench.outbox.spooled_frames) == (0, 8)
    bench.producer.renew()
    for _ in range(10):
        await bench.turn()
        bench.producer.acknowledge(1)
    await bench.turn()
    assert bench.written == list(range(1, 10))
    assert bench.outbox.state is State.DIRECT


async def test_a_put_that_is_cancelled_while_it_writes_to_disk_has_taken_the_frame(tmp_path: Path) -> None:
    executor = ManualExecutor()
    bench = Bench(tmp_path, executor=executor).start()
    bench.producer.connected_event.clear()
    taken = 0

    async def put_frames() -> None:
        nonlocal taken
        while True:
            await bench.outbox.put(bench.next_frame())
            taken += 1

    putting = asyncio.create_task(put_frames())
    await bench.turn()
    for _ in range(2):
        putting.cancel()
        await bench.turn()
        assert not putting.done(), "the frame is being written"
    executor.run_all()
    await asyncio.wait([putting])
    assert putting.cancelled()
    assert (taken, bench.outbox.spooled_frames, bench.sequence) == (1, 1, 2), "the second was not taken"
    executor.immediate = True
    await bench.end()


async def test_a_put_that_is_cancelled_while_it_waits_for_kafka_has_not_taken_the_frame(tmp_path: Path) -> None:
    bench = Bench(tmp_path, live=False).start()
    bench.producer.connected_event.clear()
    putting = asyncio.create_task(bench.put())
    await bench.turn()
    putting.cancel()
    await asyncio.wait([putting])
    assert putting.cancelled()
    assert bench.known_frames == 0
    await bench.end()


async def test_after_close_a_frame_is_dropped_and_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path).start()
    await bench.end()
    await bench.put()
    assert (bench.producer.sent, dict(bench.stats.drops)) == ([], {("put", "stopped"): 1})


@pytest.mark.parametrize(
    ("with_spool", "live", "events"),
    [
        (True, True, [("spooling_started", None), ("spooling_ended", None)]),
        (False, True, [("sending_paused", "dropped"), ("sending_resumed", None)]),
        (False, False, [("sending_paused", "waiting"), ("sending_resumed", None)]),
    ],
)
async def test_the_log_says_what_happens_to_new_frames(
    tmp_path: Path, with_spool: bool, live: bool, events: list[tuple[str, str | None]]
) -> None:
    bench = Bench(tmp_path, with_spool=with_spool, live=live).start()
    bench.producer.connected_event.clear()
    with capture_logs() as lines:
        bench.outbox.check()
        await bench.turn()
        bench.producer.renew()
        await bench.turn()
    assert [(line["event"], line.get("new_frames")) for line in lines] == events
    await bench.end()


async def test_the_counts_change_with_the_event_loop_and_not_with_the_thread_for_disks(tmp_path: Path) -> None:
    executor = ManualExecutor()
    bench = Bench(tmp_path, executor=executor).start()
    bench.producer.connected_event.clear()
    putting = asyncio.create_task(bench.put())
    await bench.turn()
    executor.run_all()  # the frame is on disk
    assert (bench.in_memory, bench.outbox.spooled_frames) == (1, 0)
    await putting
    assert (bench.in_memory, bench.outbox.spooled_frames) == (0, 1)
    bench.producer.renew()
    await bench.turn()
    executor.run_all()  # it is leased
    assert (bench.in_memory, bench.outbox.spooled_frames) == (0, 1)
    await bench.turn()
    assert (bench.in_memory, bench.outbox.spooled_frames) == (1, 0)
    bench.producer.acknowledge()
    executor.immediate = True
    await bench.turn()
    assert (bench.in_memory, bench.outbox.spooled_frames, bench.stats.published_frames) == (0, 0, 1)
    await bench.end()


async def test_frames_of_an_earlier_run_are_found_once(tmp_path: Path) -> None:
    first = Bench(tmp_path).start()
    first.producer.connected_event.clear()
    await first.put(3)
    assert await first.end() == 3
    assert (first.in_memory, first.outbox.spooled_frames) == (0, 3), "after the end, they are still on disk"
    second = Bench(tmp_path).start()
    await second.turn()
    assert (second.stats.found_frames, second.in_memory) == (3, 3)
    second.producer.acknowledge()
    await second.turn()
    assert (second.stats.found_frames, second.in_memory, second.stats.published_frames) == (3, 0, 3)
    await second.end()


async def test_statistics_that_are_new_to_an_outbox_find_its_frames(tmp_path: Path) -> None:
    bench = Bench(tmp_path).start()
    await bench.put(2)
    bench.stats = FakeStats()
    bench.outbox.update(bench.stats, live=True)
    bench.producer.acknowledge()
    await bench.turn()
    assert (bench.stats.found_frames, bench.stats.published_frames) == (2, 2)
    await bench.end()
