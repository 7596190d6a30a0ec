"""Finds the frames that no other frame refers to, in H.264 and H.265: they need not be decoded for the sake of others.

FFmpeg itself marks such packets (`AV_PKT_FLAG_DISPOSABLE`) only where a container does, which RTSP never does.
"""

from collections.abc import Iterator
from typing import Any

# The slice of a packet follows at most a delimiter and some messages (SEI).
_HEAD_BYTES = 512
# Packets after which the stream has shown its temporal layers and, where it does not say how many frames it reorders,
# the decoder has found that out; it drops frames until then.
_LEARNING_PACKETS = 64
_H264_SLICES = range(1, 6)
_H265_SLICES = range(32)
_H265_NON_REFERENCE = range(0, 15, 2)  # of these, the even types: TRAIL_N, TSA_N … RASL_N


class NonReferenceFinder:
    """Looks at the packets of one stream, each in its turn; `extradata` is what the container says of the decoder."""

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        self._codec = codec
        self._length_bytes = _length_bytes(codec, extradata or b"")
        self._packets = 0
        self._highest_layer = 0

    def is_non_reference(self, packet: Any) -> bool:
        """Whether the frame in `packet` is surely used by no other frame; never in the first packets of a stream."""
        if self._codec not in ("h264", "hevc"):
            return False
        self._packets += 1
        if packet.is_keyframe:
            return False
        head = bytes(memoryview(packet)[:_HEAD_BYTES])
        found = self._h264(head) if self._codec == "h264" else self._h265(head)
        return found and self._packets > _LEARNING_PACKETS

    def _h264(self, head: bytes) -> bool:
        """By `nal_ref_idc`, which is 0 for all slices of a picture or for none."""
        for start in self._units(head):
            if head[start] & 0x1F in _H264_SLICES:
                return not head[start] >> 5 & 3
        return False

    def _h265(self, head: bytes) -> bool:
        """A sub-layer non-reference picture may still be used by pictures of higher layers: it has to be of the top."""
        for start in self._units(head):
            kind = head[start] >> 1 & 0x3F
            if kind in _H265_SLICES:
                layer = head[start + 1] & 7
                self._highest_layer = max(self._highest_layer, layer)
                return kind in _H265_NON_REFERENCE and layer == self._highest_layer
        return False

    def _units(self, head: bytes) -> Iterator[int]:
        """Where NAL units start, after their start code or length, with two bytes at least."""
        if self._length_bytes:
            at = self._length_bytes
            while at + 1 < len(head):
                yield at
                at += int.from_bytes(head[at - self._length_bytes : at], "big") + self._length_bytes
            return
        at = head.find(b"\0\0\1") + 3
        while at >= 3 and at + 1 < len(head):  # noqa: PLR2004  # the length of a start code
            yield at
            at = head.find(b"\0\0\1", at) + 3


def _length_bytes(codec: str, extradata: bytes) -> int:
    """The size of the length before each NAL unit, as in MP4 and Matroska; 0 where start codes separate them."""
    at = 4 if codec == "h264" else 21
    return (extradata[at] & 3) + 1 if extradata[:1] == b"\1" and len(extradata) > at else 0
