"""The camera manager: cameras are added, changed and removed, and the others run on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from structlog.typing import EventDict

from edge.cameras import Camera
from edge.link.shared_buffer import Count
from edge.manager import CameraManager
from edge.metrics import EdgeMetrics
from framematch.core.settings import Settings
from tests.support import eventually
from tests.unit.edge.fake_cameras import FakeProcesses, FakeSinks, camera


class Site:
    """A manager with fake processes and sinks."""

    def __init__(self) -> None:
        self.processes = FakeProcesses()
        self.sinks = FakeSinks()
        self.registry = CollectorRegistry()
        metrics = EdgeMetrics(self.registry)
        self.manager = CameraManager(Settings(), metrics, self.sinks, self.processes.as_processes())

    async def apply(self, *cameras: Camera) -> None:
        """Apply these cameras and wait until all of them run."""
        await self.manager.apply(cameras)
        await eventually(lambda: {one.id for one in cameras} <= set(self.processes.names()))

    def gauge(self, name: str, camera: str) -> float | None:
        return self.registry.get_sample_value(f"framematch_edge_{name}", {"camera": camera})


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    with capture_logs() as events:
        yield events


@asynccontextmanager
async def all_ended(site: Site) -> AsyncIterator["asyncio.Task[None]"]:
    """A task that waits until all cameras have ended; it has to end within the block."""
    task = asyncio.create_task(site.manager.all_ended())
    await asyncio.sleep(0)
    yield task
    await asyncio.wait_for(task, 30)


async def test_an_unchanged_camera_runs_on(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a"), camera("b"))
        await site.apply(camera("b"), camera("a"))
        assert site.processes.names() == ["a", "b"]
        assert site.processes.stopped() == [False, False]


async def test_only_a_camera_that_changed_is_restarted(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a"), camera("b"))
        before = site.manager.stats
        await site.apply(camera("a"), replace(camera("b"), fps=1.0))
        await eventually(lambda: site.processes.names() == ["a", "b", "b"])
        assert site.processes.stopped() == [False, True, False]
        assert site.manager.stats == before


async def test_the_sequence_numbers_of_a_restarted_camera_go_on(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a"))
        site.processes.started[0].send_frame()
        await eventually(lambda: len(site.sinks.sinks["a"].frames) == 1)
        await site.manager.apply((camera("a", fps=1.0),))
        await eventually(lambda: len(site.processes.started) == 2)
        site.processes.started[1].send_frame()
        await eventually(lambda: [out.frame.sequence for out in site.sinks.sinks["a"].frames] == [0, 1])


async def test_a_camera_that_is_added_later_is_started(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a"))
        site.manager.changed.clear()
        await site.apply(camera("a"), camera("b"))
        assert site.processes.names() == ["a", "b"]
        assert list(site.manager.stats) == ["a", "b"]
        assert site.manager.changed.is_set()


async def test_a_removed_camera_is_stopped_and_forgotten(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a"), camera("b"))
        site.manager.changed.clear()
        await site.apply(camera("a"))
        assert site.processes.stopped() == [False, True]
        assert list(site.manager.stats) == ["a"]
        assert site.manager.changed.is_set()
        await eventually(lambda: site.sinks.removed == ["b"])
        assert site.gauge("camera_up", "b") is None
        assert site.gauge("spooled_frames", "b") is None


async def test_a_removed_camera_keeps_its_sink_and_its_gauge_until_its_spool_is_empty(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a"), camera("b"))
        site.sinks.sinks["b"].spool(7)
        await site.apply(camera("a"))
        site.manager.refresh()
        assert site.sinks.removed == []
        assert (site.gauge("spooled_frames", "b"), site.gauge("spooled_bytes", "b")) == (7, 70)
        assert site.gauge("camera_up", "b") is None
        site.sinks.sinks["b"].spool(0)
        await eventually(lambda: site.sinks.removed == ["b"])
        assert site.gauge("spooled_frames", "b") is None


async def test_a_camera_that_is_added_again_while_it_drains_goes_on_with_its_sink(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a"))
        sink = site.sinks.sinks["a"]
        sink.spool(1)
        await site.manager.apply(())
        await site.manager.apply((camera("a"),))
        await eventually(lambda: len(site.processes.started) == 2)
        sink.spool(0)
        site.processes.started[1].send_frame()
        await eventually(lambda: len(sink.frames) == 1)
        assert site.sinks.removed == []
        assert site.gauge("camera_up", "a") == 0


async def test_all_have_ended_when_each_source_has_ended_by_itself(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a", live=False), camera("b", live=False))
        async with all_ended(site) as ended:
            site.processes.started[0].end()
            await eventually(lambda: site.manager.stats["a"].snapshot().closed_because == "ended")
            assert not ended.done()
            site.processes.started[1].end()


async def test_a_restart_of_all_cameras_is_not_their_end(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a", live=False))
        async with all_ended(site) as ended:
            await site.manager.apply((camera("a", fps=1.0, live=False),))
            await eventually(lambda: len(site.processes.started) == 2)
            assert not ended.done()
            site.processes.started[1].end()


async def test_stopping_ends_all_cameras(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a"), camera("b"))
        await site.manager.stop()
        assert site.processes.stopped() == [True, True]


async def test_no_camera_is_started_after_the_stop(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a"))
        await site.manager.stop()
        await site.manager.apply((camera("a", fps=1.0), camera("b")))
        await asyncio.sleep(0)
    assert site.processes.names() == ["a"]
    assert list(site.manager.stats) == ["a"]


async def test_a_stop_during_a_change_starts_no_camera_again(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a"))
        change = asyncio.create_task(site.manager.apply((camera("a", fps=1.0),)))
        await asyncio.sleep(0)
        await site.manager.stop()
        await change
    assert site.processes.names() == ["a"]


async def test_nothing_runs_after_the_context(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a"))
    assert site.processes.stopped() == [True]


def ended(log: list[EventDict]) -> list[EventDict]:
    return [event for event in log if event["event"] == "camera_ended"]


async def test_the_end_of_a_file_tells_what_was_sent_and_dropped(site: Site, log: list[EventDict]) -> None:
    async with site.manager:
        await site.apply(camera("a", live=False))
        process = site.processes.started[0]
        process.send_frame()
        await eventually(lambda: len(site.sinks.sinks["a"].frames) == 1)
        process.drop_frame(Count.UNREADABLE)
        process.buffer.add(Count.CORRUPT, 3)
        process.end()
        await site.manager.all_ended()
    (event,) = ended(log)
    assert (event["captured"], event["sent"], event["spooled"]) == (2, 1, 0)
    assert event["dropped"] == {"corrupt": 3, "unreadable": 1}
    assert (event["log_level"], event["incomplete"]) == ("warning", "frames dropped: 1 unreadable")
    assert site.manager.report_ends() == {"a": "frames dropped: 1 unreadable"}


async def test_the_end_of_a_file_is_told_when_all_its_frames_are_sent(site: Site, log: list[EventDict]) -> None:
    async with site.manager:
        await site.apply(camera("a", live=False))
        site.processes.started[0].send_frame()
        sink = site.sinks.sinks["a"]
        await eventually(lambda: len(sink.frames) == 1)
        sink.spool(1)
        site.processes.started[0].end()
        await eventually(lambda: site.manager.stats["a"].snapshot().closed_because == "ended")
        assert ended(log) == []
        sink.spool(0)
        await site.manager.all_ended()
    assert [(event["sent"], event["log_level"], event["incomplete"]) for event in ended(log)] == [(1, "info", None)]
    assert site.manager.report_ends() == {}


async def test_frames_that_are_on_disk_at_the_end_are_not_sent(site: Site, log: list[EventDict]) -> None:
    async with site.manager:
        await site.apply(camera("a", live=False))
        site.sinks.sinks["a"].spool(1)
        site.processes.started[0].send_frame()
        site.processes.started[0].end()
        await eventually(lambda: site.manager.stats["a"].snapshot().closed_because == "ended")
        await site.manager.stop()
    assert site.manager.report_ends() == {"a": "1 frames are on disk for the next start"}
    assert [(event["captured"], event["sent"], event["spooled"]) for event in ended(log)] == [(1, 0, 1)]


async def test_a_file_that_failed_or_gave_nothing_is_incomplete_and_others_are_not(site: Site) -> None:
    async with site.manager:
        await site.apply(*(camera(name, live=False) for name in "abc"), camera("d", live=False), camera("live"))
        failed, empty, whole, running, live = site.processes.started
        failed.send_frame()
        failed.fail("its codec is not known")
        empty.end()
        whole.send_frame()
        whole.end()
        live.fail("connection lost")
        running.send_frame()
        await eventually(lambda: len(site.sinks.sinks["d"].frames) == 1)
        await eventually(
            lambda: all(site.manager.stats[name].snapshot().closed_because not in (None, "starting") for name in "abc")
        )
        await site.manager.stop()
    assert site.manager.report_ends() == {"a": "its codec is not known", "b": "it gave no frame"}


async def test_counts_go_on_when_a_camera_is_removed_and_added_again(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a"))
        site.processes.started[0].send_frame()
        await eventually(lambda: len(site.sinks.sinks["a"].frames) == 1)
        await site.manager.apply(())
        await eventually(lambda: site.sinks.removed == ["a"])
        assert site.gauge("frames_captured_total", "a") == 1
        assert site.gauge("frames_in_memory", "a") is None
        await site.manager.apply((camera("a"),))
        await eventually(lambda: len(site.processes.started) == 2)
        site.processes.started[1].send_frame()
        await eventually(lambda: len(site.sinks.sinks["a"].frames) == 1)
        assert (site.gauge("frames_captured_total", "a"), site.gauge("frames_published_total", "a")) == (2, 2)
        assert (site.gauge("frames_in_memory", "a"), site.gauge("camera_up", "a")) == (0, 0)


async def test_a_scrape_reads_what_the_cameras_process_has_counted_until_then(site: Site) -> None:
    async with site.manager:
        await site.apply(camera("a"))
        site.processes.started[0].buffer.add(Count.CAPTURED, 2)
        site.processes.started[0].buffer.add(Count.OVERRUN)
        assert site.gauge("frames_captured_total", "a") == 2
        assert site.gauge("frames_in_memory", "a") == 1
