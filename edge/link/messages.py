"""The messages from a camera's process to the service; each is one small packet."""

import msgspec

from framematch.core.frames import Clock, Region


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The source delivered its first picture, `width` x `height` pixels.

    `decoder` decodes its video: `software`, `vaapi` or `cuda`; `decoder_reason` says why not what the settings wish.
    """

    width: int
    height: int
    decoder: str = "software"
    decoder_reason: str | None = None


class DecoderChanged(msgspec.Struct, frozen=True, tag="decoder"):
    """What decodes the video from now on, and why: hardware failed."""

    decoder: str
    reason: str | None = None


class FrameReady(msgspec.Struct, frozen=True, tag="frame"):
    """A JPEG of `size_bytes` is in shared memory, and stays there until the service requests the next frame.

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


class PictureLeftOut(msgspec.Struct, frozen=True, tag="left_out"):
    """A picture of a folder is not usable; `reason` names its file."""

    reason: str


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """A finite source has ended."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The source did not open, timed out, broke off or fell behind. `reason` holds no secret."""

    reason: str


class Crashed(msgspec.Struct, frozen=True, tag="crashed"):
    """An unexpected error, a defect of the program, with its redacted traceback."""

    error: str
    traceback: str


Message = Opened | DecoderChanged | FrameReady | PictureLeftOut | Ended | Failed | Crashed
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def pack(message: Message) -> bytes:
    """Encode `message` as one packet."""
    return msgspec.msgpack.encode(message)


def unpack(packet: bytes) -> Message:
    """Decode a packet.

    Raises:
        msgspec.DecodeError: it is not a message.
    """
    return _decoder.decode(packet)
