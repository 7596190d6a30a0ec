"""Reads streams and video files with libav (PyAV)."""

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
from edge.worker.errors import REDIRECTED, reason_of, rtsp_failure
from edge.worker.http_source import HttpOpener
from edge.worker.source import GrabbedFrame, RawFrame
from framematch.core.errors import CameraUnavailableError
from framematch.core.units import US_PER_S

_DEFAULT_FPS = 25.0  # of a video without frame times and without a rate
# In read timeouts: how long packets may give no picture. Before a key frame, seconds without one are normal.
_TIMEOUTS_WITHOUT_PICTURE = 3
_RTSP = ("rtsp", "rtsps")
# Start at once: what the decoder needs to know is in the RTSP session's description or comes with the first key frame.
# By default libav first analyses seconds of the stream.
_RTSP_FAST = {"probesize": "32", "analyzeduration": "1", "fpsprobesize": "0", "allowed_media_types": "video"}
_OTHER_FAST = {"analyzeduration": "1000000", "fpsprobesize": "0"}
# The protocols that a source may use. Without `rtsp` itself libav does not follow redirects of an RTSP server.
_PROTOCOLS = {
    "rtsp": "tcp,udp,rtp",
    "rtsps": "tcp,tls,udp,rtp,srtp",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "rtp": "rtp,udp",
    "udp": "udp",
    "tcp": "tcp",
    # Libav itself opens none of the URLs of an HTTP source: see `HttpOpener`.
    "http": "http,https",
    "https": "http,https",
}
# Formats without frame times: libav assumes 25 frames a second.
_TIMELESS = frozenset({"mpjpeg", "mjpeg", "h264", "hevc", "m4v", "image2pipe"})


@dataclass(frozen=True)
class _Live:
    """What is needed for a live source: its timeout, and what opens the URLs of an HTTP source."""

    read_timeout_s: float
    opener: HttpOpener | None


class VideoReader:
    """Reads one stream or file. Frames that the decoder reports as damaged, or fails on, are marked as such."""

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
        # With several threads the decoder delays one frame per thread, and uses more CPU.
        decoder.thread_count = 1
        if key_frames_only:
            decoder.skip_frame = "NONKEY"
        self._interval_s = 1.0 / float(self._stream.average_rate or _DEFAULT_FPS)
        self._timeless = live is not None and container.format.name in _TIMELESS
        self._last_media_s: float | None = None
        self._last_picture_s = time.monotonic()
        self._frame: av.VideoFrame | None = None
        self._scalers = Scalers()
        self._frames = self._decode()

    def grab(self) -> GrabbedFrame | None:
        """Decode the next frame."""
        return next(self._frames, None)

    def retrieve(self) -> RawFrame | None:
        """The decoded frame, to be converted later."""
        return None if self._frame is None else DecodedFrame(self._frame, self._scalers)

    def close(self) -> None:
        """Close the container and its connections."""
        self._frames.close()
        self._resources.close()

    def _decode(self) -> Generator[GrabbedFrame, None, None]:
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                frames = []
                self._frame = None
                yield GrabbedFrame(self._packet_s(packet), damaged=True)
            for frame in frames:
                self._frame = frame
                if not frame.is_corrupt:
                    self._last_picture_s = time.monotonic()
                yield GrabbedFrame(self._media_s(frame), self._camera_s(frame), damaged=frame.is_corrupt)
            self._check_pictures()
        if self._live is not None:
            raise CameraUnavailableError(self._http_reason() or "stream ended")

    def _packets(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            started_s = time.monotonic()
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError) as error:
                timeout_s = None if self._live is None else self._live.read_timeout_s
                raise CameraUnavailableError(
                    self._http_reason() or reason_of(error, time.monotonic() - started_s, timeout_s, "no frame for")
                ) from None
            yield packet

    def _packet_s(self, packet: Any) -> float | None:
        """The time of the frame in `packet`; with B-frames, earlier frames may still follow it."""
        if self._timeless or packet.pts is None:
            return self._last_media_s
        return float(packet.pts * packet.time_base)

    def _media_s(self, frame: av.VideoFrame) -> float | None:
        """Finite videos always get times: a frame without one follows its predecessor at the frame rate."""
        at_s: float | None = None if self._timeless else frame.time
        if self._live is None and (at_s is None or (self._last_media_s is not None and at_s <= self._last_media_s)):
            at_s = 0.0 if self._last_media_s is None else self._last_media_s + self._interval_s
        self._last_media_s = at_s
        return at_s

    def _camera_s(self, frame: av.VideoFrame) -> float | None:
        """From RTCP: libav reports the camera's wall clock at stream time 0."""
        zero_us = self._container.start_time_realtime
        if self._live is None or zero_us is None or frame.time is None:
            return None
        return float(zero_us / US_PER_S + frame.time)

    def _check_pictures(self) -> None:
        if self._live is None:
            return
        limit_s = _TIMEOUTS_WITHOUT_PICTURE * self._live.read_timeout_s
        if time.monotonic() - self._last_picture_s > limit_s:
            raise CameraUnavailableError(f"no decodable frame for {limit_s:g} s")

    def _http_reason(self) -> str | None:
        return None if self._live is None or self._live.opener is None else self._live.opener.failure


def open_file(path: Path, *, key_frames_only: bool = False) -> VideoReader:
    """Open a video file.

    Raises:
        CameraUnavailableError: it cannot be read, or is no video.
    """
    av.logging.set_level(None)
    with ExitStack() as opened:
        try:
            # An open file, not a name, and no protocols: a playlist in it cannot make us read other files.
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
    """Open a live stream. An HTTP source may also lead to the `allowed_hosts`.

    Raises:
        CameraUnavailableError: it does not open; the message holds no secret.
    """
    av.logging.set_level(None)  # its messages contain URLs with credentials
    scheme = urlsplit(url).scheme.lower()
    opener = HttpOpener(url, allowed_hosts, read_timeout_s) if scheme in ("http", "https") else None
    started_s = time.monotonic()
    with ExitStack() as opened:
        if opener is not None:
            opened.callback(opener.close)
        try:
            with rtsp_failure() as rtsp_status:
                container = av.open(
                    url,
                    options=_options(scheme, rtsp_transport, read_timeout_s),
                    timeout=(open_timeout_s, read_timeout_s),
                    io_open=None if opener is None else opener.open,
                )
        except (av.FFmpegError, OSError) as error:
            passed_s = time.monotonic() - started_s
            reason = (opener.failure if opener else rtsp_status()) or reason_of(
                error, passed_s, min(open_timeout_s, read_timeout_s), "no answer for"
            )
            if scheme in _RTSP and isinstance(error, av.error.ArgumentError):
                reason = REDIRECTED
            raise CameraUnavailableError(reason, hint="Check address, credentials and network") from None
        opened.enter_context(container)
        return VideoReader(container, _Live(read_timeout_s, opener), opened.pop_all(), key_frames_only=key_frames_only)


def _options(scheme: str, rtsp_transport: str, read_timeout_s: float) -> dict[str, str]:
    options = {"protocol_whitelist": _PROTOCOLS[scheme], "timeout": str(round(read_timeout_s * US_PER_S))}
    if scheme in _RTSP:
        return {**options, **_RTSP_FAST, "rtsp_transport": rtsp_transport}
    if scheme in ("http", "https"):
        # Libav must not reuse a connection for the next segment: `HttpOpener` owns it.
        return {**options, **_OTHER_FAST, "http_persistent": "0", "http_multiple": "0"}
    return {**options, **_OTHER_FAST}
