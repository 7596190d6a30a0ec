"""Decoding in hardware (VAAPI, CUDA): what a camera's process can use, and why it does not use what is wished."""

from dataclasses import dataclass

import av
from av.codec.hwaccel import HWAccel

from framematch.core.settings import Decode

_AUTO = ("vaapi", "cuda")  # a graphics unit beside the CPU costs less than a graphics card, which has other work too
_TRIED = "h264"


@dataclass(frozen=True)
class Decoding:
    """What decodes a video: `software`, `vaapi` or `cuda`; and why it is not what the settings wish."""

    decoder: str = "software"
    reason: str | None = None


SOFTWARE = Decoding()


def find_hardware(wished: Decode) -> tuple[HWAccel | None, Decoding]:
    """The hardware to decode with, None for software, and what that means for the camera's status.

    The device is opened for a try: what fails later, while a camera is being opened, looks as if the camera failed.
    """
    if wished == "software":
        return None, SOFTWARE
    failures = []
    for kind in _AUTO if wished == "auto" else (wished,):
        failure = _failure(kind)
        if failure is None:
            return HWAccel(kind, allow_software_fallback=True), Decoding(kind)
        failures.append(f"{kind}: {failure}")
    return None, Decoding(reason="; ".join(failures))


def _failure(kind: str) -> str | None:
    """Why the hardware cannot be used; None if it opens."""
    av.logging.set_level(None)
    try:
        HWAccel(kind).create(av.Codec(_TRIED, "r"))
    except NotImplementedError:
        return "not in this build of FFmpeg"
    except (av.FFmpegError, OSError) as error:
        return f"no device can be opened ({error.strerror})"
    return None
