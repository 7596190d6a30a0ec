"""What a camera's process tells the service; each is one small packet."""

import msgspec

from framematch.core.frames import Clock, Region


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The source is open: its first picture came, `width` x `height` pixels."""

    width: int
    height: int


class FrameReady(msgspec.Struct, frozen=True, tag="frame"):
    """A JPEG of `size_bytes` lies in shared memory, and stays there until the service asks for the next.

    `captured_at_us` is by `clock`, `grabbed_at_us` by the wall clock, `grabbed_s` and `encoded_s` by the machine's
    monotonic clock. `regions` are pixels of the JPEG; empty means all of it.
    """

    size_bytes: int
    sequence: int
    captured_at_us: int
    grabbed_at_us: int
    grabbed_s: float
    encoded_s: float
    clock: Clock
    regions: tuple[Region, ...] = ()


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """A finite source has been played to its end."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The source could not be opened, timed out, broke off or fell behind. `reason` holds no secret."""

    reason: str


class Crashed(msgspec.Struct, frozen=True, tag="crashed"):
    """A defect: an error that nobody expected, with its traceback, redacted."""

    error: str
    traceback: str


Message = Opened | FrameReady | Ended | Failed | Crashed
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def pack(message: Message) -> bytes:
    """`message` as one packet."""
    return msgspec.msgpack.encode(message)


def unpack(packet: bytes) -> Message:
    """The message in `packet`.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _decoder.decode(packet)
