"""Reads a stream or a video file by libav (PyAV)."""

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import av
from av.container import InputContainer

from edge.worker.decoded import DecodedFrame, Scalers
from edge.worker.grabbed import Grabbed
from edge.worker.hosts import WebSource
from edge.worker.raw import RawFrame
from edge.worker.reasons import REDIRECTED, reason_of, status_reason
from framematch.core.errors import CameraUnavailableError

_US = 1_000_000
_DEFAULT_FPS = 25.0  # of a video that gives neither frame times nor a rate
# A stream whose packets give no picture: until its next key frame that is so for seconds even when nothing is wrong.
_READS_WITHOUT_PICTURE = 3
_RTSP = ("rtsp", "rtsps")
# A decoder that is asked to be quick: what it needs to know about RTSP stands in the session's description, and what
# is missing there comes with the first key frame. By default libav reads seconds of the stream before it begins.
_RTSP_FAST = {"probesize": "32", "analyzeduration": "1", "fpsprobesize": "0", "allowed_media_types": "video"}
_OTHER_FAST = {"analyzeduration": "1000000", "fpsprobesize": "0"}
# What a source may use. Without its own name libav follows no redirect of an RTSP server, to whatever host.
_PROTOCOLS = {
    "rtsp": "tcp,udp,rtp",
    "rtsps": "tcp,tls,udp,rtp,srtp",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "rtp": "rtp,udp",
    "udp": "udp",
    "tcp": "tcp",
    # Of what a web source leads to, nothing is opened by libav itself: see `edge.worker.hosts`.
    "http": "http,https",
    "https": "http,https",
}
# Formats without times of their own: libav invents 25 frames a second for them.
_TIMELESS = frozenset({"mpjpeg", "mjpeg", "h264", "hevc", "m4v", "image2pipe"})


@dataclass(frozen=True)
class _Live:
    """What differs when a source is live: how long it may be silent, and who opens what it leads to."""

    read_timeout_s: float
    web: WebSource | None


class VideoReader:
    """One stream or file. Frames that the decoder calls damaged, or fails on, are told as such; the rest goes on."""

    def __init__(
        self, container: InputContainer, live: _Live | None, resources: ExitStack, *, key_frames_only: bool
    ) -> None:
        if not container.streams.video:
            resources.close()
            raise CameraUnavailableError("has no video")
        self._container = container
        self._resources = resources
        self._live = live
        self._stream = container.streams.video[0]
        decoder = self._stream.codec_context
        # With several threads the decoder holds one frame back for each of them, and costs more CPU.
        decoder.thread_count = 1
        if key_frames_only:
            decoder.skip_frame = "NONKEY"
        self._interval_s = 1.0 / float(self._stream.average_rate or _DEFAULT_FPS)
        self._timeless = live is not None and container.format.name in _TIMELESS
        self._last_media_s: float | None = None
        self._picture_s = time.monotonic()
        self._frame: av.VideoFrame | None = None
        self._scalers = Scalers()
        self._frames = self._decode()

    def grab(self) -> Grabbed | None:
        """See `Reader`."""
        return next(self._frames, None)

    def retrieve(self) -> RawFrame | None:
        """See `Reader`."""
        return None if self._frame is None else DecodedFrame(self._frame, self._scalers)

    def close(self) -> None:
        """See `Reader`."""
        self._frames.close()
        self._resources.close()

    def _decode(self) -> Generator[Grabbed, None, None]:
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                frames = []
                self._frame = None
                yield Grabbed(self._due_s(packet), damaged=True)
            for frame in frames:
                self._frame = frame
                if not frame.is_corrupt:
                    self._picture_s = time.monotonic()
                yield Grabbed(self._media_s(frame), self._camera_s(frame), damaged=frame.is_corrupt)
            self._check_pictures()
        if self._live is not None:
            raise CameraUnavailableError(self._web_reason() or "stream ended")

    def _packets(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            began_s = time.monotonic()
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError) as error:
                timeout_s = None if self._live is None else self._live.read_timeout_s
                raise CameraUnavailableError(
                    self._web_reason() or reason_of(error, time.monotonic() - began_s, timeout_s, "no frame for")
                ) from None
            yield packet

    def _due_s(self, packet: Any) -> float | None:
        """The time of a frame that was to be in `packet`."""
        if self._timeless or packet.pts is None:
            return self._last_media_s
        return float(packet.pts * packet.time_base)

    def _media_s(self, frame: av.VideoFrame) -> float | None:
        """A finite video always has times: a frame without one follows its predecessor by the frame rate."""
        at_s: float | None = None if self._timeless else frame.time
        if self._live is None and (at_s is None or (self._last_media_s is not None and at_s <= self._last_media_s)):
            at_s = 0.0 if self._last_media_s is None else self._last_media_s + self._interval_s
        self._last_media_s = at_s
        return at_s

    def _camera_s(self, frame: av.VideoFrame) -> float | None:
        """By RTCP: libav tells what time it was, by the camera, when the stream's own was 0."""
        zero_us = self._container.start_time_realtime
        if self._live is None or zero_us is None or frame.time is None:
            return None
        return float(zero_us / _US + frame.time)

    def _check_pictures(self) -> None:
        if self._live is None:
            return
        limit_s = _READS_WITHOUT_PICTURE * self._live.read_timeout_s
        if time.monotonic() - self._picture_s > limit_s:
            raise CameraUnavailableError(f"no decodable frame for {limit_s:g} s")

    def _web_reason(self) -> str | None:
        return None if self._live is None or self._live.web is None else _web_reason(self._live.web)


def open_file(path: Path, *, key_frames_only: bool = False) -> VideoReader:
    """Open a video file.

    Raises:
        CameraUnavailableError: it cannot be read, or is no video.
    """
    av.logging.set_level(None)
    with ExitStack() as opened:
        try:
            # An open file, not a name, and no protocol at all: a playlist in it cannot make us read other files.
            file = opened.enter_context(path.open("rb"))
            container = opened.enter_context(av.open(file, "r", options={"protocol_whitelist": ""}))
        except av.FFmpegError:
            raise CameraUnavailableError("is not a video that can be decoded") from None
        except OSError as error:
            raise CameraUnavailableError(f"cannot be read: {error.strerror}") from None
        return VideoReader(container, None, opened.pop_all(), key_frames_only=key_frames_only)


def open_stream(
    url: str,
    *,
    open_timeout_s: float,
    read_timeout_s: float,
    rtsp_transport: Literal["tcp", "udp"] = "tcp",
    key_frames_only: bool = False,
    allowed_hosts: tuple[str, ...] = (),
) -> VideoReader:
    """Open a live stream. `allowed_hosts` are those that a web source may lead to besides its own.

    Raises:
        CameraUnavailableError: it does not open; the message holds no secret.
    """
    av.logging.set_level(None)  # its messages hold URLs with credentials
    scheme = urlsplit(url).scheme.lower()
    web = WebSource(url, allowed_hosts, read_timeout_s) if scheme in ("http", "https") else None
    began_s = time.monotonic()
    with ExitStack() as opened:
        if web is not None:
            opened.callback(web.close)
        try:
            container = av.open(
                url,
                options=_options(scheme, rtsp_transport, read_timeout_s),
                timeout=(open_timeout_s, read_timeout_s),
                io_open=None if web is None else web.open,
            )
        except (av.FFmpegError, OSError) as error:
            passed_s = time.monotonic() - began_s
            reason = (web and _web_reason(web)) or reason_of(
                error, passed_s, min(open_timeout_s, read_timeout_s), "no answer for"
            )
            if scheme in _RTSP and isinstance(error, av.error.ArgumentError):
                reason = REDIRECTED
            raise CameraUnavailableError(reason, hint="Check address, credentials and network") from None
        opened.enter_context(container)
        return VideoReader(container, _Live(read_timeout_s, web), opened.pop_all(), key_frames_only=key_frames_only)


def _options(scheme: str, rtsp_transport: str, read_timeout_s: float) -> dict[str, str]:
    options = {"protocol_whitelist": _PROTOCOLS[scheme], "timeout": str(round(read_timeout_s * _US))}
    if scheme in _RTSP:
        return {**options, **_RTSP_FAST, "rtsp_transport": rtsp_transport}
    if scheme in ("http", "https"):
        # libav may not keep a connection for the next segment: it is not its own.
        return {**options, **_OTHER_FAST, "http_persistent": "0", "http_multiple": "0"}
    return {**options, **_OTHER_FAST}


def _web_reason(web: WebSource) -> str | None:
    """Why a web source failed, when we know better than libav."""
    if web.refused is not None:
        return f"leads to {web.refused}, which is not among edge.allowed_hosts"
    return None if web.status is None else status_reason(web.status)
