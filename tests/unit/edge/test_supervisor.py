"""The supervisor of a camera: its timeouts, and a stop while its sink takes a frame, which is counted once."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
import structlog
from prometheus_client import CollectorRegistry

from edge.metrics import EdgeMetrics
from edge.snapshot import StatsSnapshot
from edge.stats import CameraStats
from edge.status import status_of
from edge.supervisor import CameraSupervisor
from framematch.core.settings import Decode, EdgeSettings
from tests.support import eventually
from tests.unit.edge.fake_cameras import FakeProcesses, FakeSink, camera


async def stopped_while_putting(sink: FakeSink, cancellations: int) -> StatsSnapshot:
    """The statistics of a camera that was cancelled while its sink could not finish `put`, which it can afterwards."""
    processes = FakeProcesses()
    stats = CameraStats("a", EdgeMetrics(CollectorRegistry()).of("a"), lambda: None)
    supervisor = CameraSupervisor(
        camera("a"), EdgeSettings(), stats, processes.as_processes(), sink, jpeg_bytes_max=1_000
    )
    task = asyncio.create_task(supervisor.run())
    await eventually(lambda: processes.started)
    sink.writable.clear()
    processes.started[0].send_frame()
    await asyncio.sleep(0.01)
    for _ in range(cancellations):
        task.cancel()
        await asyncio.sleep(0)
    sink.writable.set()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    return stats.snapshot()


@pytest.mark.parametrize("cancellations", [1, 3])
async def test_a_frame_that_is_being_spooled_when_the_camera_is_stopped_is_not_dropped(cancellations: int) -> None:
    sink = FakeSink()
    found = await stopped_while_putting(sink, cancellations)
    assert (found.closed_because, found.captured, len(sink.frames), found.drops) == ("stopped", 1, 1, {})


async def test_a_frame_that_the_sink_did_not_take_before_the_stop_is_dropped() -> None:
    sink = FakeSink()
    sink.live = False
    found = await stopped_while_putting(sink, 1)
    assert (found.captured, len(sink.frames), found.drops) == (1, 0, {"stopped": 1})


async def test_a_picture_that_is_left_out_is_logged_and_the_next_is_sent() -> None:
    processes, sink = FakeProcesses(), FakeSink()
    stats = CameraStats("a", EdgeMetrics(CollectorRegistry()).of("a"), lambda: None)
    folder = camera("a", live=False)
    supervisor = CameraSupervisor(folder, EdgeSettings(), stats, processes.as_processes(), sink, jpeg_bytes_max=1_000)
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(supervisor.run())
        await eventually(lambda: processes.started)
        processes.started[0].leave_out("a.jpg is damaged")
        processes.started[0].send_frame()
        await eventually(lambda: sink.frames)
        processes.started[0].end()
        await asyncio.wait_for(task, 30)
    assert {"event": "picture_left_out", "log_level": "warning", "camera": "a", "reason": "a.jpg is damaged"} in logs


async def timeouts_of(**own: float) -> tuple[float, float]:
    """The timeouts for opening and reading that a process gets, of a camera with its own ones."""
    processes = FakeProcesses()
    stats = CameraStats("a", EdgeMetrics(CollectorRegistry()).of("a"), lambda: None)
    settings = EdgeSettings(open_timeout_s=3, read_timeout_s=4)
    watched = replace(camera("a"), **own)  # type: ignore[arg-type]  # fields that are numbers
    supervisor = CameraSupervisor(watched, settings, stats, processes.as_processes(), FakeSink(), jpeg_bytes_max=1_000)
    task = asyncio.create_task(supervisor.run())
    await eventually(lambda: processes.started)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    config = processes.started[0].config
    return config.open_timeout_s, config.read_timeout_s


async def test_the_timeouts_of_a_camera_take_the_place_of_those_of_the_edge() -> None:
    assert await timeouts_of() == (3, 4)
    assert await timeouts_of(open_timeout_s=30) == (30, 4)
    assert await timeouts_of(open_timeout_s=30, read_timeout_s=40) == (30, 40)


class Decoded:
    """A camera with a setting `decode`, whose process reports what decodes its video."""

    def __init__(self, decode: Decode) -> None:
        self.processes = FakeProcesses()
        self.stats = CameraStats("a", EdgeMetrics(CollectorRegistry()).of("a"), lambda: None)
        settings, sink = EdgeSettings(), FakeSink()
        self.supervisor = CameraSupervisor(
            replace(camera("a"), decode=decode), settings, self.stats, self.processes.as_processes(), sink,
            jpeg_bytes_max=1_000,
        )  # fmt: skip

    async def reports(self, *reports: tuple[str, str | None]) -> list[tuple[str, str, str, str | None]]:
        """Send the reports; returns what is logged of them: event, level, decoder, reason."""
        with structlog.testing.capture_logs() as logs:
            task = asyncio.create_task(self.supervisor.run())
            await eventually(lambda: self.processes.started)
            for number, (decoder, reason) in enumerate(reports):
                if number:
                    self.processes.started[0].change_decoder(decoder, str(reason))
                else:
                    self.processes.started[0].open(decoder, reason)
            await eventually(lambda: self.shown() == reports[-1])
            self.processes.started[0].end()
            await asyncio.wait_for(task, 30)
        return [
            (log["event"], log["log_level"], log["decoder"], log["reason"])
            for log in logs
            if log["event"].startswith("decoder_")
        ]

    def shown(self) -> tuple[str | None, str | None]:
        found = self.stats.snapshot()
        status = status_of("a", found, found, 0)
        assert (status.decoder, status.decoder_reason) == (found.decoder, found.decoder_reason)
        return found.decoder, found.decoder_reason


async def test_without_a_wish_for_hardware_nothing_is_logged_of_the_decoder() -> None:
    assert await Decoded("software").reports(("software", None)) == []


async def test_wished_hardware_that_is_missing_is_a_warning_with_its_reason() -> None:
    why = "vaapi: not in this build of FFmpeg"
    found = await Decoded("vaapi").reports(("software", why))
    assert found == [("decoder_unavailable", "warning", "software", why)]


async def test_what_was_chosen_of_all_hardware_is_one_line() -> None:
    why = "vaapi: no device; cuda: no device"
    assert await Decoded("auto").reports(("software", why)) == [("decoder_chosen", "info", "software", why)]


async def test_hardware_that_fails_later_is_a_warning_too() -> None:
    found = await Decoded("cuda").reports(("cuda", None), ("software", "cuda: gave no picture"))
    assert found == [
        ("decoder_chosen", "info", "cuda", None),
        ("decoder_unavailable", "warning", "software", "cuda: gave no picture"),
    ]
