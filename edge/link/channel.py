"""The channel between a camera's process (the worker) and the service, seen from both ends.

The service requests a frame, and the worker answers with its newest as soon as it has one. Only one JPEG is in shared
memory at a time and each end knows whose turn it is, so no lock is needed and a worker may be killed at any moment.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Self

from edge.link.messages import FrameReady, Message, pack, unpack
from edge.link.shared_buffer import SharedBuffer

_REQUEST = b"?"
_PACKET_MAX = 65_536


class WorkerChannel:
    """The worker's end. One thread calls `wait_for_request` and `send_frame`; any thread may call `send`."""

    def __init__(self, channel: socket.socket, buffer: SharedBuffer) -> None:
        self._socket = channel
        self.buffer = buffer

    def wait_for_request(self) -> bool:
        """Return True when the service requests a frame, False when it shut the channel down or is gone."""
        try:
            return self._socket.recv(1) == _REQUEST
        except ConnectionResetError:
            return False

    def send_frame(self, frame: FrameReady, jpeg: bytes) -> None:
        """Answer one request. A service that is gone is no error."""
        self.buffer.put_jpeg(jpeg)
        self.send(frame)

    def send(self, message: Message) -> None:
        """Send `message`. A service that is gone is no error."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.send(pack(message))


class ServiceChannel:
    """The service's end. `peer` is the worker's; close it here once the worker has it."""

    def __init__(self, buffer: SharedBuffer) -> None:
        self._buffer = buffer
        self._socket, self.peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()
        self.peer.close()

    def request(self) -> None:
        """Request one frame."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.send(_REQUEST)

    async def receive(self) -> Message | None:
        """The next message, or None when the worker is gone and all its messages are received."""
        try:
            packet = await self._receive_packet()
        except ConnectionResetError:  # reported once, and first: the worker left a request unread; see what it sent
            packet = await self._receive_packet()
        return unpack(packet) if packet else None

    async def _receive_packet(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._socket, _PACKET_MAX)

    def jpeg(self, frame: FrameReady) -> bytes:
        """The JPEG of `frame`; valid until the next `request`."""
        return self._buffer.jpeg(frame.size_bytes)

    def shut_down(self) -> None:
        """Tell the worker to close its source and end."""
        with suppress(OSError):  # it is gone already
            self._socket.shutdown(socket.SHUT_WR)
