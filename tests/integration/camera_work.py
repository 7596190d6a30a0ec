"""What a camera's process does in the tests of its keeper, in place of reading a source."""

import os
import signal
import socket
import time
from typing import Any

from edge.link.area import Count, SharedArea
from edge.link.ends import WorkerEnd
from edge.link.messages import Crashed, Ended, Failed, FrameReady, Opened
from edge.worker.run import Assignment


def _begin(line: socket.socket, area: Any) -> WorkerEnd:
    end = WorkerEnd(line, SharedArea(area.detach()))
    end.say(Opened(64, 48))
    return end


def _grab(end: WorkerEnd) -> int:
    end.area.add(Count.SOURCE_FRAMES)
    end.area.set(Count.LAST_FRAME_NS, time.monotonic_ns())
    return end.area.add(Count.CAPTURED)


def _hand_over(end: WorkerEnd) -> bool:
    """Grab a frame and deliver it when asked; False when nobody will ask any more."""
    sequence = _grab(end)
    if not end.wait_until_asked():
        return False
    jpeg, now_s = b"jpeg %d" % sequence, time.monotonic()
    end.deliver(FrameReady(len(jpeg), sequence, 1_000 + sequence, 2_000, now_s, now_s, "rtp", ((1, 2, 3, 4),)), jpeg)
    return True


def three_frames(line: socket.socket, area: Any, _assignment: Assignment) -> None:
    """A source with three frames."""
    end = _begin(line, area)
    for _ in range(3):
        _hand_over(end)
    end.say(Ended())


def one_frame_and_failure(line: socket.socket, area: Any, _assignment: Assignment) -> None:
    """A stream that breaks off after its first frame."""
    end = _begin(line, area)
    _hand_over(end)
    end.say(Failed("stream ended"))


def one_frame_and_silence(line: socket.socket, area: Any, _assignment: Assignment) -> None:
    """A read that hangs: neither a signal that can be caught nor the line's end ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.alarm(300)  # and when nobody is left to kill it
    end = _begin(line, area)
    _hand_over(end)
    while True:
        signal.pause()


def death_with_a_frame_in_hand(line: socket.socket, area: Any, _assignment: Assignment) -> None:
    """A decoder's crash: the second frame has its number and goes down with the process."""
    end = _begin(line, area)
    _hand_over(end)
    _grab(end)
    os.kill(os.getpid(), signal.SIGKILL)


def defect(line: socket.socket, area: Any, _assignment: Assignment) -> None:
    """An error that nobody expected."""
    _begin(line, area).say(Crashed("ZeroDivisionError: division by zero", "Traceback …"))


def endless(line: socket.socket, area: Any, _assignment: Assignment) -> None:
    """A camera that works until it is told to stop."""
    end = _begin(line, area)
    while _hand_over(end):
        pass
