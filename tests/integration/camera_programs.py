"""What a camera's process does in the tests of its supervisor, in place of reading a source."""

import gc
import os
import signal
import socket
import time
from multiprocessing.resource_sharer import DupFd

from edge.link.channel import WorkerChannel
from edge.link.messages import Crashed, Ended, Failed, FrameReady, Opened
from edge.link.shared_buffer import Count, SharedBuffer
from edge.worker.run import WorkerConfig


def _open(peer: socket.socket, buffer: DupFd) -> WorkerChannel:
    channel = WorkerChannel(peer, SharedBuffer(buffer.detach()))
    channel.send(Opened(64, 48))
    return channel


def _grab(channel: WorkerChannel) -> int:
    channel.buffer.add(Count.SOURCE_FRAMES)
    channel.buffer.set(Count.LAST_FRAME_NS, time.monotonic_ns())
    return channel.buffer.add(Count.CAPTURED)


def _deliver(channel: WorkerChannel) -> bool:
    """Grab a frame and deliver it on request; False when there will be no more requests."""
    sequence = _grab(channel)
    if not channel.wait_for_request():
        return False
    jpeg, now_s = b"jpeg %d" % sequence, time.monotonic()
    channel.send_frame(
        FrameReady(len(jpeg), sequence, 1_000 + sequence, 2_000, now_s, now_s, "rtp", ((1, 2, 3, 4),)), jpeg
    )
    return True


def three_frames(peer: socket.socket, buffer: DupFd, _config: WorkerConfig) -> None:
    """A source with three frames."""
    channel = _open(peer, buffer)
    for _ in range(3):
        _deliver(channel)
    channel.send(Ended())


def one_frame_and_failure(peer: socket.socket, buffer: DupFd, _config: WorkerConfig) -> None:
    """A stream that breaks off after its first frame."""
    channel = _open(peer, buffer)
    _deliver(channel)
    channel.send(Failed("stream ended"))


def shared_objects(peer: socket.socket, buffer: DupFd, _config: WorkerConfig) -> None:
    """A failure whose reason is how many objects no collection of garbage visits."""
    _open(peer, buffer).send(Failed(str(gc.get_freeze_count())))


def one_frame_and_silence(peer: socket.socket, buffer: DupFd, _config: WorkerConfig) -> None:
    """A read that hangs: neither a signal that can be caught nor the end of the channel ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.alarm(300)  # in case nothing is left to kill it
    channel = _open(peer, buffer)
    _deliver(channel)
    while True:
        signal.pause()


def long_between_frames(peer: socket.socket, buffer: DupFd, _config: WorkerConfig) -> None:
    """A camera whose key frames are a second apart, with signs of life between them."""
    channel = _open(peer, buffer)
    while _deliver(channel):
        for _ in range(20):
            time.sleep(0.05)
            channel.buffer.set(Count.LAST_SKIPPED_NS, time.monotonic_ns())


def death_with_a_frame_in_memory(peer: socket.socket, buffer: DupFd, _config: WorkerConfig) -> None:
    """A decoder's crash: the second frame has its number and is lost with the process."""
    channel = _open(peer, buffer)
    _deliver(channel)
    _grab(channel)
    os.kill(os.getpid(), signal.SIGKILL)


def defect(peer: socket.socket, buffer: DupFd, _config: WorkerConfig) -> None:
    """An unexpected error."""
    _open(peer, buffer).send(Crashed("ZeroDivisionError: division by zero", "Traceback …"))


def endless(peer: socket.socket, buffer: DupFd, _config: WorkerConfig) -> None:
    """A camera that works until it is shut down."""
    channel = _open(peer, buffer)
    while _deliver(channel):
        pass
