"""The capture loop: a live source never waits, a finite one is played in full and in time, and all is counted."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import pytest

from edge.cameras import Camera
from edge.link.area import Count, SharedArea
from edge.link.messages import Crashed, Ended, Failed, Message, Opened
from edge.sources import Source
from edge.worker.capture import Capture, Captured
from edge.worker.clock import CaptureClock
from edge.worker.decoded import PixelFrame
from edge.worker.gate import Look
from edge.worker.grabbed import Grabbed, Reader
from edge.worker.raw import RawFrame
from edge.worker.slot import NewestFrameSlot
from framematch.core.errors import CameraUnavailableError
from framematch.core.timestamps import now_us
from tests.support import wait_until

LIVE = Source("stream", "rtsp://user:hunter2@camera/1")
FINITE = Source("folder", "pictures")
Step = float | Grabbed | Exception | None


class ScriptedReader:
    """Gives frames at the stream times of `script`, None for its end, or raises the error in it."""

    def __init__(self, *script: Step) -> None:
        self._script = iter(script)
        self.closed = False

    def grab(self) -> Grabbed | None:
        step = next(self._script)
        if isinstance(step, Exception):
            raise step
        return Grabbed(media_s=step) if isinstance(step, float) else step

    def retrieve(self) -> RawFrame | None:
        return PixelFrame(np.zeros((4, 6, 3), np.uint8))

    def close(self) -> None:
        self.closed = True


class OpenGate:
    def look(self, raw: RawFrame, at_s: float) -> Look:
        del raw, at_s
        return Look(send=True)


class StillScene:
    def look(self, raw: RawFrame, at_s: float) -> Look:
        del raw, at_s
        return Look(send=False)


class Rig:
    """One capture over scripted readers, its area, its slot and what it says."""

    def __init__(
        self,
        area: SharedArea,
        source: Source,
        *readers: Reader | Exception,
        repeat: bool = False,
        gate: OpenGate | StillScene | None = None,
        clock: CaptureClock | None = None,
        fps: float = 1_000.0,
    ) -> None:
        self.area = area
        self.slot = NewestFrameSlot[Captured]()
        self.said: list[Message] = []
        following = iter(readers)

        def open_source() -> Reader:
            reader = next(following)
            if isinstance(reader, Exception):
                raise reader
            return reader

        self.capture = Capture(
            Camera("till-1", source, fps=fps, max_side=640, jpeg_quality=85),
            open_source,
            gate=gate or OpenGate(),
            area=area,
            slot=self.slot,
            say=self.said.append,
            max_lag_s=5.0,
            repeat=repeat,
            clock=clock,
        )
        self.thread = threading.Thread(target=self.capture.run)

    def take_all(self) -> list[Captured]:
        frames: list[Captured] = []
        while not self.slot.finished:
            if (frame := self.slot.take()) is not None:
                frames.append(frame)
        return frames


MakeRig = Callable[..., Rig]


@pytest.fixture
def rig() -> Iterator[MakeRig]:
    with ExitStack() as left:

        def make(source: Source, *readers: Reader | Exception, **options: object) -> Rig:
            area = SharedArea.create(1_000)
            left.callback(area.close)
            rig = Rig(area, source, *readers, **options)  # type: ignore[arg-type]  # as Rig declares them
            left.callback(rig.thread.join, 30)
            rig.thread.start()
            left.callback(rig.capture.stop)
            return rig

        yield make


def test_every_frame_of_a_finite_source_comes_in_order(rig: MakeRig) -> None:
    reader = ScriptedReader(*(index / 1_000 for index in range(50)), None)
    found = rig(FINITE, reader)
    assert [frame.sequence for frame in found.take_all()] == list(range(50))
    counts = found.area.counts()
    assert (counts.source_frames, counts.sampled, counts.captured, counts.overrun) == (50, 50, 50, 0)
    assert found.capture.last_words == Ended()
    assert found.said == [Opened(6, 4)]
    assert reader.closed


def test_a_finite_source_is_paced_by_its_own_times(rig: MakeRig) -> None:
    started_us, started_s = now_us(), time.monotonic()
    *_, last = rig(FINITE, ScriptedReader(5.0, 5.1, 5.2, None)).take_all()
    assert last.stamp.captured_at_us - started_us >= 199_000
    assert last.stamp.grabbed_s - started_s >= 0.199
    assert last.stamp.clock == "wall"


def test_repeat_plays_a_finite_source_again_with_sequences_that_go_on(rig: MakeRig) -> None:
    readers = [ScriptedReader(0.0, 0.001, None) for _ in range(3)]
    found = rig(FINITE, *readers, ScriptedReader(None), repeat=True)
    assert [frame.sequence for frame in found.take_all()] == list(range(6))
    assert found.said == [Opened(6, 4)]


def test_a_source_that_does_not_open_has_failed(rig: MakeRig) -> None:
    found = rig(LIVE, CameraUnavailableError("connection refused"))
    assert found.take_all() == []
    assert found.capture.last_words == Failed("connection refused")
    assert found.said == []


def test_a_live_source_never_waits_and_what_it_overruns_is_counted(rig: MakeRig) -> None:
    # Nobody takes from the slot until all ten have been offered.
    reader = ScriptedReader(*map(float, range(10)), CameraUnavailableError("stream ended"))
    clocks = iter(range(100, 110))
    found = rig(LIVE, reader, clock=CaptureClock(monotonic_s=lambda: next(clocks)))
    found.thread.join(30)
    assert [frame.sequence for frame in found.take_all()] == [9]
    assert (found.area.counts().captured, found.area.counts().overrun) == (10, 9)
    assert found.capture.last_words == Failed("stream ended")


def test_a_live_source_is_sampled_by_its_own_times(rig: MakeRig) -> None:
    reader = ScriptedReader(*(index / 30 for index in range(31)), CameraUnavailableError("stream ended"))
    clocks = iter(100 + index / 30 for index in range(31))
    found = rig(LIVE, reader, fps=5.0, clock=CaptureClock(monotonic_s=lambda: next(clocks)))
    found.thread.join(30)
    assert (found.area.counts().source_frames, found.area.counts().sampled) == (31, 6)


def test_a_damaged_frame_is_counted_and_the_next_takes_its_place(rig: MakeRig) -> None:
    found = rig(FINITE, ScriptedReader(0.0, Grabbed(0.1, damaged=True), 0.11, 0.2, None), fps=10.0)
    assert [frame.sequence for frame in found.take_all()] == [0, 1, 2]
    counts = found.area.counts()
    assert (counts.source_frames, counts.sampled, counts.corrupt, counts.captured) == (4, 4, 1, 3)


def test_damaged_frames_do_not_count_as_a_sign_of_life(rig: MakeRig) -> None:
    found = rig(LIVE, ScriptedReader(Grabbed(0.0, damaged=True), CameraUnavailableError("no decodable frame")))
    found.thread.join(30)
    assert found.area.counts().last_frame_ns == 0


def test_a_still_scene_gives_no_numbers(rig: MakeRig) -> None:
    found = rig(FINITE, ScriptedReader(0.0, 0.001, None), gate=StillScene())
    assert found.take_all() == []
    counts = found.area.counts()
    assert (counts.sampled, counts.still, counts.captured) == (2, 2, 0)


def test_a_stream_that_stays_behind_is_given_up(rig: MakeRig) -> None:
    clocks = iter([100.0, 107.0, 111.0])
    found = rig(LIVE, ScriptedReader(0.0, 0.1, 0.2), clock=CaptureClock(monotonic_s=lambda: next(clocks)))
    found.thread.join(30)
    assert found.capture.last_words == Failed("fell more than 5 s behind; opened again")
    assert found.area.counts().lag_us > 10e6


def test_stop_releases_a_finite_source_that_waits(rig: MakeRig) -> None:
    reader = ScriptedReader(*(index / 1_000 for index in range(50)), None)
    found = rig(FINITE, reader)
    wait_until(lambda: found.area.counts().captured == 2, message="one is in the slot, one waits before it")
    found.capture.stop()
    found.thread.join(30)
    assert [frame.sequence for frame in found.take_all()] == [0]
    assert reader.closed


def test_a_defect_is_told_without_the_password(rig: MakeRig) -> None:
    found = rig(LIVE, RuntimeError("no such thing as rtsp://user:hunter2@camera/1"))
    found.thread.join(30)
    assert isinstance(found.capture.last_words, Crashed)
    assert "no such thing as rtsp://***@camera/1" in found.capture.last_words.error
    assert "open_source" in found.capture.last_words.traceback
    assert "hunter2" not in repr(found.capture.last_words)


def test_sequences_go_on_where_the_last_process_ended() -> None:
    area = SharedArea.create(1_000)
    area.add(Count.CAPTURED, 41)
    rig = Rig(area, FINITE, ScriptedReader(0.0, None))
    rig.capture.run()
    assert [frame.sequence for frame in rig.take_all()] == [41]
    area.close()


def test_capture_times_go_on_where_those_of_the_last_process_ended() -> None:
    area = SharedArea.create(1_000)
    ahead_us = now_us() + 30_000_000
    area.set(Count.LAST_CAPTURED_US, ahead_us)
    rig = Rig(area, FINITE, ScriptedReader(0.0, None))
    rig.capture.run()
    assert [frame.stamp.captured_at_us for frame in rig.take_all()] == [ahead_us + 1]
    assert area.counts().last_captured_us == ahead_us + 1
    area.close()
