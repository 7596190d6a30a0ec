"""The frame message: the value is a JPEG, the metadata are CloudEvents headers (Kafka binding, binary mode)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import msgspec

from framematch.core.errors import BadFrameError
from framematch.core.ids import frame_id
from framematch.core.timestamps import from_rfc3339, to_rfc3339

FRAME_TYPE = "framematch.frame.v1"
CAMERA_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
SEQUENCE_PATTERN = "^[0-8]?[0-9]{1,15}$"
"""The largest is below 2^53, so that JavaScript has it exactly; microseconds since the epoch fit until 2255."""
TRACEPARENT_PATTERN = "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
_CAMERA, _SEQUENCE, _TRACEPARENT = map(re.compile, (CAMERA_PATTERN, SEQUENCE_PATTERN, TRACEPARENT_PATTERN))

Clock = Literal["rtcp", "rtp", "wall"]
"""Source of a capture time: the camera's clock (RTCP), the stream's timestamps from its first frame, or our clock."""
_CLOCKS: dict[str, Clock] = {name: name for name in get_args(Clock)}

Region = tuple[int, int, int, int]
"""A box `(x, y, width, height)` in pixels of the JPEG."""


@dataclass(frozen=True)
class Frame:
    """One sampled picture of a camera, without its pixels; times are microseconds since the epoch.

    Without `regions` the whole picture is one region. `sequence` counts the frames of one run of the camera.
    `captured_at_us` is by `clock`; `grabbed_at_us` is when the frame arrived, by the edge's clock. `replayed`: it was
    spooled on the edge's disk while Kafka was unavailable.
    """

    camera: str
    captured_at_us: int
    sequence: int
    regions: tuple[Region, ...] = ()
    traceparent: str | None = None
    grabbed_at_us: int | None = None
    clock: Clock = "wall"
    replayed: bool = False

    @property
    def arrived_at_us(self) -> int:
        """When the frame arrived, by the edge's clock; the camera's own clock may be seconds off."""
        return self.captured_at_us if self.grabbed_at_us is None else self.grabbed_at_us

    @cached_property
    def id(self) -> str:
        """Deterministic: the same camera, time and sequence give the same id."""
        return frame_id(self.camera, self.captured_at_us, self.sequence)


def valid_camera_id(name: str) -> str:
    """Return `name` if it is a valid camera id: ids become Kafka keys, metric labels and file names.

    Raises:
        ValueError: it is empty, longer than 64, or has characters other than letters, digits, `.`, `_` and `-`.
    """
    if not _CAMERA.fullmatch(name):
        msg = f"camera id {name!r}: use 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first"
        raise ValueError(msg)
    return name


def frame_headers(frame: Frame) -> list[tuple[str, bytes]]:
    """The record headers of `frame`; the record's key is the camera id and its timestamp the capture time."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": frame.id,
        "ce_source": f"/framematch/cameras/{frame.camera}",
        "ce_type": FRAME_TYPE,
        "ce_time": to_rfc3339(frame.captured_at_us),
        "ce_sequence": str(frame.sequence),
        "ce_regions": msgspec.json.encode(frame.regions).decode(),
        "ce_clock": frame.clock,
        "content-type": "image/jpeg",
    }
    if frame.grabbed_at_us is not None:
        headers["ce_grabtime"] = to_rfc3339(frame.grabbed_at_us)
    if frame.replayed:
        headers["ce_replayed"] = "true"
    if frame.traceparent:
        headers["traceparent"] = frame.traceparent
    return [(name, value.encode()) for name, value in headers.items()]


def parse_frame(key: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> Frame:
    """Parse a frame from a record's key and headers; the last of several headers with the same name counts.

    Raises:
        BadFrameError: a header is missing or malformed (`reason` is `headers`).
    """
    try:
        found = {name: (value or b"").decode(errors="replace") for name, value in headers}
        if found["ce_type"] != FRAME_TYPE:
            raise BadFrameError("headers", f"ce_type is {found['ce_type'][:80]!r}, not {FRAME_TYPE!r}")
        traceparent = found.get("traceparent")
        grabbed_at = found.get("ce_grabtime")
        frame = Frame(
            camera=valid_camera_id((key or b"").decode()),
            captured_at_us=from_rfc3339(found["ce_time"]),
            sequence=_sequence(found["ce_sequence"]),
            regions=tuple(msgspec.json.decode(found.get("ce_regions", "[]"), type=list[Region])),
            traceparent=traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else None,
            grabbed_at_us=None if grabbed_at is None else from_rfc3339(grabbed_at),
            clock=_CLOCKS.get(found.get("ce_clock", ""), "wall"),
            replayed=found.get("ce_replayed") == "true",
        )
    except KeyError as error:
        raise BadFrameError("headers", f"the header {error.args[0]} is missing") from None
    except (ValueError, msgspec.DecodeError) as error:
        raise BadFrameError("headers", f"malformed headers: {str(error)[:200]}") from None
    if any(x < 0 or y < 0 or width < 1 or height < 1 for x, y, width, height in frame.regions):
        raise BadFrameError("headers", "ce_regions holds a box without area or with a negative corner")
    return frame


def _sequence(text: str) -> int:
    if not _SEQUENCE.fullmatch(text):
        raise BadFrameError("headers", f"ce_sequence is {text[:80]!r}, not a number below 9,000,000,000,000,000")
    return int(text)
