"""The capture loop: a live source is opened again for ever and never waits; a finite one is played once, in full."""

import asyncio
import time
from collections.abc import Callable

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from edge.cameras import Camera
from edge.meter import CameraMeter
from edge.metrics import EdgeMetrics
from edge.sources import Source
from edge.worker.capture import Capture, CapturedFrame
from edge.worker.encode import Picture
from edge.worker.readers import Reader
from edge.worker.slot import NewestFrameSlot
from framematch.core.errors import CameraUnavailableError
from framematch.core.settings import EdgeSettings
from framematch.core.timestamps import now_us
from tests.support import eventually

SETTINGS = EdgeSettings(backoff_initial_s=0.001, backoff_max_s=0.002)
LIVE = Source("stream", "rtsp://user:hunter2@camera/1")
FINITE = Source("folder", "pictures")


class ScriptedReader:
    """Gives frames at the times of `script`, None for its end, or raises the error in it."""

    def __init__(
        self, *script: float | CameraUnavailableError | None, unreadable: frozenset[int] = frozenset()
    ) -> None:
        self._script = iter(script)
        self._unreadable = unreadable
        self._frames = 0

    def grab(self) -> float | None:
        step = next(self._script)
        if isinstance(step, CameraUnavailableError):
            raise step
        self._frames += 1
        return step

    def retrieve(self) -> Picture | None:
        return None if self._frames - 1 in self._unreadable else np.full((4, 4, 3), self._frames, np.uint8)

    def close(self) -> None:
        pass


class Rig:
    """One capture over scripted readers, its slot and its meter."""

    def __init__(self, source: Source, *, repeat: bool = False) -> None:
        self.slot: NewestFrameSlot[CapturedFrame] = NewestFrameSlot(asyncio.get_running_loop())
        self.registry = CollectorRegistry()
        self.meter = CameraMeter("till-1", EdgeMetrics(self.registry), lambda: None)
        camera = Camera("till-1", source, fps=1_000.0, max_side=640, jpeg_quality=85)
        self.capture = Capture(camera, self.slot, self.meter, SETTINGS, repeat=repeat)

    async def take_all(self) -> list[CapturedFrame]:
        frames = []
        while (frame := await asyncio.wait_for(self.slot.take(), 30)) is not None:
            frames.append(frame)
        return frames

    def captured(self) -> float | None:
        return self.registry.get_sample_value("framematch_edge_frames_captured_total", {"camera": "till-1"})


Readers = Callable[..., None]


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> Readers:
    """Give the readers that the source opens to, one after the other; an error stands for one that does not open."""

    def use(*opened: Reader | CameraUnavailableError) -> None:
        following = iter(opened)

        def open_next(*_: object, **__: object) -> Reader:
            reader = next(following)
            if isinstance(reader, CameraUnavailableError):
                raise reader
            return reader

        monkeypatch.setattr("edge.worker.capture.open_reader", open_next)

    return use


async def test_every_frame_of_a_finite_source_comes_in_order_and_the_slot_closes(readers: Readers) -> None:
    readers(ScriptedReader(*(index / 1_000 for index in range(50)), None))
    rig = Rig(FINITE)
    rig.capture.start()
    frames = await rig.take_all()
    assert [frame.frame.sequence for frame in frames] == list(range(50))
    assert (rig.captured(), rig.meter.read().drops, rig.meter.read().closed_because) == (50, {}, "ended")


async def test_a_finite_source_is_paced_by_its_own_times(readers: Readers) -> None:
    readers(ScriptedReader(0.0, 0.1, 0.2, None))
    rig = Rig(FINITE)
    started_us, started_s = now_us(), time.monotonic()
    rig.capture.start()
    *_, last = await rig.take_all()
    assert last.frame.captured_at_us - started_us >= 199_000
    assert last.captured_s - started_s >= 0.199


async def test_a_picture_that_cannot_be_decoded_is_dropped_and_the_rest_comes(readers: Readers) -> None:
    readers(ScriptedReader(0.0, 0.001, 0.002, None, unreadable=frozenset({1})))
    rig = Rig(FINITE)
    rig.capture.start()
    assert [frame.frame.sequence for frame in await rig.take_all()] == [0, 2]
    assert (rig.captured(), rig.meter.read().drops) == (3, {"unreadable": 1})


async def test_a_finite_source_that_fails_is_not_tried_again(readers: Readers) -> None:
    readers(CameraUnavailableError("cannot be read"))
    rig = Rig(FINITE)
    rig.capture.start()
    assert await rig.take_all() == []
    assert rig.meter.read().closed_because == "cannot be read"


async def test_repeat_plays_a_finite_source_again_with_sequences_that_go_on(readers: Readers) -> None:
    readers(*(ScriptedReader(0.0, 0.001, None) for _ in range(3)), ScriptedReader(None))
    rig = Rig(FINITE, repeat=True)
    rig.capture.start()
    assert [frame.frame.sequence for frame in await rig.take_all()] == list(range(6))
    assert rig.meter.read().reconnects == 0


async def test_a_live_source_that_fails_is_opened_again(readers: Readers) -> None:
    ended = CameraUnavailableError("stream ended")
    now_s = time.monotonic()
    readers(
        CameraUnavailableError("cannot be opened"),
        ScriptedReader(now_s, ended),
        ended,
        ScriptedReader(now_s + 1, ended),
        *[ended] * 10_000,
    )
    rig = Rig(LIVE)
    rig.capture.start()
    await eventually(lambda: rig.meter.read().drops == {"overrun": 1}, message="the second run displaced the first")
    frame = await rig.slot.take()
    rig.capture.stop()
    assert frame is not None
    assert frame.frame.sequence == 1
    assert rig.meter.read().reconnects == 1


async def test_a_live_source_never_waits_and_what_it_overruns_is_counted(readers: Readers) -> None:
    now_s = time.monotonic()
    # Nobody takes from the slot until all ten have been offered.
    readers(ScriptedReader(*(now_s + index for index in range(10)), CameraUnavailableError("x")), *_away())
    rig = Rig(LIVE)
    rig.capture.start()
    await eventually(lambda: rig.meter.read().drops == {"overrun": 9})
    frame = await rig.slot.take()
    assert frame is not None
    rig.capture.stop()
    assert frame.frame.sequence == 9


async def test_stop_ends_a_camera_that_is_away_and_says_stopped(readers: Readers) -> None:
    readers(*_away())
    rig = Rig(LIVE)
    rig.capture.start()
    rig.capture.stop()
    assert await rig.take_all() == []
    rig.capture.join(30)
    assert rig.meter.read().closed_because == "stopped"


async def test_stop_releases_a_finite_source_that_waits_and_accounts_for_its_frame(readers: Readers) -> None:
    readers(ScriptedReader(*(index / 1_000 for index in range(50)), None))
    rig = Rig(FINITE)
    rig.capture.start()
    await eventually(lambda: rig.captured() == 2, message="one is in the slot, one waits before it")
    rig.capture.stop()
    rig.capture.join(30)
    assert [frame.frame.sequence for frame in await rig.take_all()] == [0]
    assert rig.meter.read().drops == {"stopped": 1}


async def test_a_fault_in_the_thread_reaches_the_event_loop(readers: Readers) -> None:
    readers()
    rig = Rig(LIVE)
    rig.capture.start()
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(rig.slot.take(), 30)


async def test_each_frame_has_a_trace_of_its_own(readers: Readers) -> None:
    readers(ScriptedReader(0.0, 0.001, None))
    rig = Rig(FINITE)
    rig.capture.start()
    traces = {frame.frame.traceparent for frame in await rig.take_all()}
    assert len(traces) == 2


def _away() -> list[CameraUnavailableError]:
    return [CameraUnavailableError("cannot be opened")] * 10_000
