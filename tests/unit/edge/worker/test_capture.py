"""The capture loop: a live source never waits, a finite one is read in full and in time, every frame is counted."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from edge.cameras import Camera
from edge.link.messages import Crashed, Ended, Failed, Message, Opened, PictureLeftOut
from edge.link.shared_buffer import Count, SharedBuffer
from edge.sources import Source
from edge.worker.capture import Capture, CapturedFrame
from edge.worker.clock import CaptureClock
from edge.worker.decoded import PixelFrame
from edge.worker.gate import GateDecision
from edge.worker.hardware import SOFTWARE
from edge.worker.slot import NewestFrameSlot
from edge.worker.source import GrabbedFrame, MaySkip, RawFrame, Reader
from edge.worker.video import open_file
from framematch.core.errors import CameraUnavailableError
from framematch.core.timestamps import now_us
from tests.support import wait_until

LIVE = Source("stream", "rtsp://user:hunter2@camera/1")
FINITE = Source("folder", "pictures")
NOON_S = 1_800_000_000.0
Step = float | GrabbedFrame | Exception | None


class ScriptedReader:
    """Delivers frames at the stream times of `script`; None is the end, an error is raised."""

    decoding = SOFTWARE

    def __init__(self, *script: Step) -> None:
        self._script = iter(script)
        self.retrieved = 0
        self.closed = False

    def grab(self) -> GrabbedFrame | None:
        step = next(self._script)
        if isinstance(step, Exception):
            raise step
        return GrabbedFrame(media_s=step) if isinstance(step, float) else step

    def retrieve(self) -> RawFrame | None:
        self.retrieved += 1
        return PixelFrame(np.zeros((4, 6, 3), np.uint8))

    def close(self) -> None:
        self.closed = True


class SomeUndecodable(ScriptedReader):
    """A device of which only the first `good` pictures can be decoded."""

    def __init__(self, *script: Step, good: int) -> None:
        super().__init__(*script)
        self._good = good
        self.failed_ns: list[int] = []

    def retrieve(self) -> RawFrame | None:
        raw = super().retrieve()
        if self.retrieved <= self._good:
            return raw
        self.failed_ns.append(time.monotonic_ns())
        return None


class WithCameraClock:
    """A reader whose camera reports its own clock, which is half a second behind ours."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.retrieve, self.close = reader.retrieve, reader.close
        self.decoding = reader.decoding

    def grab(self) -> GrabbedFrame | None:
        grabbed = self._reader.grab()
        if grabbed is None or grabbed.damaged:
            return grabbed
        return replace(grabbed, camera_s=NOON_S + (grabbed.media_s or 0.0) - 0.5)


def open_gate(raw: RawFrame, at_s: float) -> GateDecision:
    del raw, at_s
    return GateDecision(send=True)


def closed_gate(raw: RawFrame, at_s: float) -> GateDecision:
    del raw, at_s
    return GateDecision(send=False)


class CaptureRun:
    """One capture over scripted readers, with its buffer, its slot and its messages."""

    def __init__(
        self,
        buffer: SharedBuffer,
        source: Source,
        *readers: Reader | Exception,
        repeat: bool = False,
        gate: Callable[[RawFrame, float], GateDecision] = open_gate,
        clock: CaptureClock | None = None,
        fps: float = 1_000.0,
    ) -> None:
        self.buffer = buffer
        self.slot = NewestFrameSlot[CapturedFrame]()
        self.messages: list[Message] = []
        following = iter(readers)

        def open_source(_may_skip: MaySkip) -> Reader:
            reader = next(following)
            if isinstance(reader, Exception):
                raise reader
            return reader

        self.capture = Capture(
            Camera("till-1", source, fps=fps, max_side=640, jpeg_quality=85),
            open_source,
            gate=gate,
            buffer=buffer,
            slot=self.slot,
            send=self.messages.append,
            max_lag_s=5.0,
            repeat=repeat,
            clock=clock,
        )
        self.thread = threading.Thread(target=self.capture.run)

    def take_all(self) -> list[CapturedFrame]:
        frames: list[CapturedFrame] = []
        while not self.slot.drained:
            if (frame := self.slot.take()) is not None:
                frames.append(frame)
        return frames


StartCapture = Callable[..., CaptureRun]


@pytest.fixture
def start() -> Iterator[StartCapture]:
    with ExitStack() as stack:

        def start(source: Source, *readers: Reader | Exception, **options: object) -> CaptureRun:
            buffer = SharedBuffer.create(1_000)
            stack.callback(buffer.close)
            run = CaptureRun(buffer, source, *readers, **options)  # type: ignore[arg-type]  # as CaptureRun declares them
            stack.callback(run.thread.join, 30)
            run.thread.start()
            stack.callback(run.capture.stop)
            return run

        yield start


def test_every_frame_of_a_finite_source_is_captured_in_order(start: StartCapture) -> None:
    reader = ScriptedReader(*(index / 1_000 for index in range(50)), None)
    found = start(FINITE, reader)
    assert [frame.sequence for frame in found.take_all()] == list(range(50))
    counts = found.buffer.counts()
    assert (counts.source_frames, counts.sampled, counts.captured, counts.overrun) == (50, 50, 50, 0)
    assert found.capture.last_message == Ended()
    assert found.messages == [Opened(6, 4)]
    assert reader.closed


def test_a_finite_source_is_paced_by_its_own_times(start: StartCapture) -> None:
    started_us, started_s = now_us(), time.monotonic()
    *_, last = start(FINITE, ScriptedReader(5.0, 5.1, 5.2, None)).take_all()
    assert last.timestamps.captured_at_us - started_us >= 199_000
    assert last.timestamps.grabbed_s - started_s >= 0.199
    assert last.timestamps.clock == "wall"


def test_with_repeat_a_finite_source_is_played_again_and_sequences_go_on(start: StartCapture) -> None:
    readers = [ScriptedReader(0.0, 0.001, None) for _ in range(3)]
    found = start(FINITE, *readers, ScriptedReader(None), repeat=True)
    assert [frame.sequence for frame in found.take_all()] == list(range(6))
    assert found.messages == [Opened(6, 4)]


def test_a_source_that_does_not_open_fails(start: StartCapture) -> None:
    found = start(LIVE, CameraUnavailableError("connection refused"))
    assert found.take_all() == []
    assert found.capture.last_message == Failed("connection refused")
    assert found.messages == []


def test_a_live_source_never_waits_and_displaced_frames_are_counted(start: StartCapture) -> None:
    # Nothing is taken from the slot until all ten have been offered.
    reader = ScriptedReader(*map(float, range(10)), CameraUnavailableError("stream ended"))
    clocks = iter(range(100, 110))
    found = start(LIVE, reader, clock=CaptureClock(monotonic_s=lambda: next(clocks)))
    found.thread.join(30)
    assert [frame.sequence for frame in found.take_all()] == [9]
    assert (found.buffer.counts().captured, found.buffer.counts().overrun) == (10, 9)
    assert found.capture.last_message == Failed("stream ended")


def test_a_live_source_is_sampled_by_its_own_times(start: StartCapture) -> None:
    reader = ScriptedReader(*(index / 30 for index in range(31)), CameraUnavailableError("stream ended"))
    clocks = iter(100 + index / 30 for index in range(31))
    found = start(LIVE, reader, fps=5.0, clock=CaptureClock(monotonic_s=lambda: next(clocks)))
    found.thread.join(30)
    assert (found.buffer.counts().source_frames, found.buffer.counts().sampled) == (31, 6)


def test_a_damaged_frame_is_counted_and_the_next_takes_its_place(start: StartCapture) -> None:
    found = start(FINITE, ScriptedReader(0.0, GrabbedFrame(0.1, damaged=True), 0.11, 0.2, None), fps=10.0)
    assert [frame.sequence for frame in found.take_all()] == [0, 1, 2]
    counts = found.buffer.counts()
    assert (counts.source_frames, counts.sampled, counts.corrupt, counts.captured) == (4, 4, 1, 3)


def test_a_picture_that_is_left_out_is_reported_with_its_reason(start: StartCapture) -> None:
    reason = "a.jpg is damaged: it ends before its end marker"
    found = start(FINITE, ScriptedReader(GrabbedFrame(0.0, damaged=True, reason=reason), 0.2, None))
    found.take_all()
    assert found.messages == [PictureLeftOut(reason), Opened(6, 4)]
    assert found.buffer.counts().corrupt == 1


def test_damaged_frames_do_not_set_the_time_of_the_last_frame(start: StartCapture) -> None:
    found = start(LIVE, ScriptedReader(GrabbedFrame(0.0, damaged=True), CameraUnavailableError("no decodable frame")))
    found.thread.join(30)
    assert found.buffer.counts().last_frame_ns == 0


def test_a_sign_of_life_is_no_frame_and_is_noted(start: StartCapture) -> None:
    reader = ScriptedReader(GrabbedFrame(sign_of_life=True), CameraUnavailableError("stream ended"))
    found = start(LIVE, reader)
    found.thread.join(30)
    counts = found.buffer.counts()
    assert (counts.source_frames, counts.last_frame_ns, reader.retrieved) == (0, 0, 0)
    assert counts.last_skipped_ns > 0


def test_a_damaged_start_of_a_file_does_not_set_its_pace(start: StartCapture) -> None:
    found = start(FINITE, ScriptedReader(GrabbedFrame(None, damaged=True), 90_000.0, 90_000.001, None))
    assert len(found.take_all()) == 2


def test_frames_of_a_still_scene_get_no_sequence_numbers(start: StartCapture) -> None:
    found = start(FINITE, ScriptedReader(0.0, 0.001, None), gate=closed_gate)
    assert found.take_all() == []
    counts = found.buffer.counts()
    assert (counts.sampled, counts.still, counts.captured) == (2, 2, 0)


def test_a_stream_that_stays_behind_fails(start: StartCapture) -> None:
    clocks = iter([100.0, 107.0, 111.0])
    found = start(LIVE, ScriptedReader(0.0, 0.1, 0.2), clock=CaptureClock(monotonic_s=lambda: next(clocks)))
    found.thread.join(30)
    assert found.capture.last_message == Failed("fell more than 5 s behind; opened again")
    assert found.buffer.counts().lag_us > 10e6


def test_stop_releases_a_finite_source_that_waits(start: StartCapture) -> None:
    reader = ScriptedReader(*(index / 1_000 for index in range(50)), None)
    found = start(FINITE, reader)
    wait_until(lambda: found.buffer.counts().captured == 2, message="one in the slot, one waiting")
    found.capture.stop()
    found.thread.join(30)
    assert [frame.sequence for frame in found.take_all()] == [0]
    assert reader.closed


def test_a_defect_is_reported_without_the_password(start: StartCapture) -> None:
    found = start(LIVE, RuntimeError("no such thing as rtsp://user:hunter2@camera/1"))
    found.thread.join(30)
    assert isinstance(found.capture.last_message, Crashed)
    assert "no such thing as rtsp://***@camera/1" in found.capture.last_message.error
    assert "open_source" in found.capture.last_message.traceback
    assert "hunter2" not in repr(found.capture.last_message)


def test_sequences_go_on_where_the_last_process_ended() -> None:
    buffer = SharedBuffer.create(1_000)
    buffer.add(Count.CAPTURED, 41)
    run = CaptureRun(buffer, FINITE, ScriptedReader(0.0, None))
    run.capture.run()
    assert [frame.sequence for frame in run.take_all()] == [41]
    buffer.close()


def test_capture_times_go_on_where_those_of_the_last_process_ended() -> None:
    buffer = SharedBuffer.create(1_000)
    ahead_us = now_us() + 30_000_000
    buffer.set(Count.LAST_CAPTURED_US, ahead_us)
    run = CaptureRun(buffer, FINITE, ScriptedReader(0.0, None))
    run.capture.run()
    assert [frame.timestamps.captured_at_us for frame in run.take_all()] == [ahead_us + 1]
    assert buffer.counts().last_captured_us == ahead_us + 1
    buffer.close()


def test_only_frames_that_are_due_are_decoded(start: StartCapture) -> None:
    reader = ScriptedReader(*(index / 30 for index in range(31)), CameraUnavailableError("stream ended"))
    clocks = iter(100 + index / 30 for index in range(31))
    found = start(LIVE, reader, fps=5.0, clock=CaptureClock(monotonic_s=lambda: next(clocks)))
    found.thread.join(30)
    assert (found.buffer.counts().source_frames, reader.retrieved) == (31, 6)


def test_a_device_whose_pictures_cannot_be_decoded_never_sets_the_time_of_the_last_frame(start: StartCapture) -> None:
    reader = SomeUndecodable(*[GrabbedFrame()] * 5, CameraUnavailableError("the device is gone"), good=0)
    found = start(LIVE, reader)
    found.thread.join(30)
    counts = found.buffer.counts()
    assert (counts.source_frames, counts.corrupt, counts.last_frame_ns) == (5, 5, 0)


def test_a_device_whose_pictures_stop_being_decodable_does_not_set_that_time_again(start: StartCapture) -> None:
    clocks = iter(100 + index / 30 for index in range(12))
    reader = SomeUndecodable(*[GrabbedFrame()] * 12, CameraUnavailableError("the device is gone"), good=1)
    found = start(LIVE, reader, fps=5.0, clock=CaptureClock(monotonic_s=lambda: next(clocks)))
    found.thread.join(30)
    assert len(reader.failed_ns) == found.buffer.counts().corrupt == 6  # every frame after the first interval
    assert 0 < found.buffer.counts().last_frame_ns <= reader.failed_ns[0]


def with_an_undecodable_packet(path: Path) -> Path:
    """A video with B-frames: its decoder delays frames to reorder them, but fails on a packet at once."""
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=25, options={"bf": "2", "b_strategy": "0", "g": "100"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        pictures = np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), dtype=np.uint8)
        frames = [av.VideoFrame.from_ndarray(picture, format="bgr24") for picture in pictures]
        packets = [packet for frame in (*frames, None) for packet in stream.encode(frame)]
        bad = av.Packet(bytes(packets[7])[:4] + b"\x41" + b"\xff" * 8)
        for name in ("pts", "dts", "time_base", "stream"):
            setattr(bad, name, getattr(packets[7], name))
        output.mux([*packets[:7], bad, *packets[8:]])
    return path


def test_the_time_of_an_undecodable_packet_may_be_ahead_of_the_next_frame(tmp_path: Path) -> None:
    reader = open_file(with_an_undecodable_packet(tmp_path / "video.mp4"))
    times = []
    while (grabbed := reader.grab()) is not None:
        times.append((grabbed.media_s or 0.0, grabbed.damaged))
    reader.close()
    place = next(index for index, (_, damaged) in enumerate(times) if damaged)
    assert times[place][0] > times[place + 1][0]


def test_an_undecodable_packet_resets_neither_lag_nor_camera_clock(start: StartCapture, tmp_path: Path) -> None:
    reader = WithCameraClock(open_file(with_an_undecodable_packet(tmp_path / "video.mp4")))
    monotonic_s = itertools.count(100.0, 0.04)
    clock = CaptureClock(wall_us=lambda: round(NOON_S * 1e6), monotonic_s=lambda: next(monotonic_s))
    found = start(LIVE, reader, clock=clock)
    found.thread.join(30)
    assert found.buffer.counts().corrupt >= 1
    (last,) = found.take_all()
    assert last.timestamps.clock == "rtcp"
    assert last.timestamps.lag_s == pytest.approx(0, abs=0.001)
