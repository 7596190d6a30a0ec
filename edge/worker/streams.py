"""Chooses the video stream of a container: what a player would show, and no cover or thumbnail."""

import re
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from framematch.core.errors import CameraUnavailableError

_NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails
# As the `ffmpeg` command does: a stream that its container names the default beats all but much larger pictures.
_DEFAULT_PX = 5_000_000
# FFmpeg logs: `Could not find codec parameters for stream 0 (Video: none (ABCD / 0x44434241), …): unknown codec`.
_TAG = re.compile(r"\(Video: none \((?P<tag>[\w-]+) / 0x")


class UnknownCodecError(CameraUnavailableError):
    """FFmpeg has no decoder for the video."""

    def __init__(self, tag: str = "") -> None:
        super().__init__(
            f"its codec {tag} is not known" if tag else "its codec is not known",
            hint="Let the camera or encoder use H.264 or H.265",
        )


def choose_video(container: InputContainer) -> VideoStream:
    """The video stream to read.

    Raises:
        UnknownCodecError: there is one, and no decoder for it.
        CameraUnavailableError: there is none.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & _NO_VIDEO]
    if not streams:
        raise CameraUnavailableError("has no video")
    readable = [stream for stream in streams if _has_decoder(stream)]
    if not readable:
        raise UnknownCodecError
    return max(readable, key=_score)


def _has_decoder(stream: VideoStream) -> bool:
    # PyAV's type hints deny the None that it gives where FFmpeg has no decoder.
    context: object | None = stream.codec_context
    return context is not None


def _score(stream: VideoStream) -> tuple[bool, int]:
    """Of equal ones the first is taken. One frame is a picture beside the video; 0 frames: not known."""
    is_default = bool(stream.disposition & Disposition.default)
    pixels = stream.codec_context.width * stream.codec_context.height
    return stream.frames != 1, pixels + _DEFAULT_PX * is_default


def codec_tag(path: Path) -> str:
    """The four letters by which a file names the codec that is not known; empty if it has none.

    Only FFmpeg's log says them.
    """
    with av.logging.Capture(local=True) as log:
        av.logging.set_level(av.logging.WARNING)
        try:
            with (
                path.open("rb") as file,
                av.open(file, "r", options={"protocol_whitelist": ""}, metadata_errors="replace"),
            ):
                pass
        finally:
            av.logging.set_level(None)
    return next((found["tag"] for _, _, line in log if (found := _TAG.search(line))), "")
