"""The two ends of the line between a camera's process and the service.

The service asks, the process answers with its newest frame as soon as it has one. So one JPEG at a time lies in shared
memory, each end knows whose turn it is without a lock, and a process may be killed at any moment.
"""

import asyncio
import socket
from typing import Self

from edge.link.area import SharedArea
from edge.link.messages import FrameReady, Message, pack, unpack

_ASK = b"?"
_PACKET_MAX = 65_536


class WorkerEnd:
    """The end in the camera's process. `wait_until_asked` and `deliver` are for one thread, `say` is for any."""

    def __init__(self, line: socket.socket, area: SharedArea) -> None:
        self._line = line
        self.area = area

    def wait_until_asked(self) -> bool:
        """Return True when the service wants a frame, and False when it wants nothing any more, or is gone."""
        try:
            return self._line.recv(1) == _ASK
        except ConnectionResetError:
            return False

    def deliver(self, frame: FrameReady, jpeg: bytes) -> None:
        """Hand over a frame, once after each time asked. Returns also when the service is gone."""
        self.area.put_jpeg(jpeg)
        self.say(frame)

    def say(self, message: Message) -> None:
        """Send `message`. Returns also when the service is gone."""
        try:
            self._line.send(pack(message))
        except (BrokenPipeError, ConnectionResetError):
            return


class ServiceEnd:
    """The end in the service; `far_end` belongs to the process and is closed here once that has it."""

    def __init__(self, area: SharedArea) -> None:
        self._area = area
        self._line, self.far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._line.close()
        self.far_end.close()

    def ask(self) -> None:
        """Ask for one frame."""
        try:
            self._line.send(_ASK)
        except (BrokenPipeError, ConnectionResetError):
            return

    async def receive(self) -> Message | None:
        """The next message, or None when the process is gone."""
        try:
            packet = await asyncio.get_running_loop().sock_recv(self._line, _PACKET_MAX)
        except ConnectionResetError:
            return None
        return unpack(packet) if packet else None

    def jpeg(self, frame: FrameReady) -> bytes:
        """The frame's JPEG; before the next `ask`."""
        return self._area.jpeg(frame.size_bytes)

    def dismiss(self) -> None:
        """Tell the process to close its source and end."""
        try:
            self._line.shutdown(socket.SHUT_WR)
        except OSError:
            return
