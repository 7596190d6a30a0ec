"""Opens streams and video files with libav (PyAV)."""

import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import av

from edge.worker.decoded import FrameConverter
from edge.worker.errors import REDIRECTED, reason_of, rtsp_failure
from edge.worker.hardware import find_hardware
from edge.worker.http_source import HttpOpener
from edge.worker.mjpeg import MjpegReader, is_mjpeg
from edge.worker.source import MaySkip, Reader, skips_nothing
from edge.worker.streams import UnknownCodecError, choose_video, codec_tag
from edge.worker.video_reader import Live, VideoReader
from framematch.core.errors import CameraUnavailableError
from framematch.core.settings import Decode, UntaggedColours
from framematch.core.units import US_PER_S

_CHECK_S = 10.0
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


def open_file(
    path: Path,
    *,
    may_skip: MaySkip = skips_nothing,
    decode: Decode = "software",
    key_frames_only: bool = False,
    untagged_colours: UntaggedColours = "auto",
) -> VideoReader:
    """Open a video file. Frames that `may_skip` need not be decoded.

    Raises:
        CameraUnavailableError: it cannot be read, or is no video.
    """
    av.logging.set_level(None)
    hardware, decoding = find_hardware(decode)
    with ExitStack() as opened:
        try:
            # An open file, not a name, and no protocols: a playlist in it cannot make us read other files.
            file = opened.enter_context(path.open("rb"))
            options = {"protocol_whitelist": ""}
            container = opened.enter_context(
                av.open(file, "r", options=options, metadata_errors="replace", hwaccel=hardware)
            )
        except av.FFmpegError:
            raise CameraUnavailableError("is not a video that can be decoded") from None
        except OSError as error:
            raise CameraUnavailableError(f"cannot be read: {error.strerror}") from None
        try:
            stream = choose_video(container)
        except UnknownCodecError:
            raise UnknownCodecError(codec_tag(path)) from None
        return VideoReader(
            container,
            stream,
            None,
            opened.pop_all(),
            decoding=decoding,
            may_skip=may_skip,
            key_frames_only=key_frames_only,
            untagged_colours=untagged_colours,
        )


def check_file(path: Path) -> None:
    """Read a video file up to its first usable frame.

    Raises:
        CameraUnavailableError: it has none, as far as can be seen in some seconds.
    """
    until_s = time.monotonic() + _CHECK_S
    with closing(open_file(path)) as reader:
        frames = 0
        while (grabbed := reader.grab()) is not None:
            frames += 1
            if not grabbed.damaged and reader.retrieve() is not None:
                return
            if time.monotonic() > until_s:
                return
        raise CameraUnavailableError("holds no frame that can be decoded" if frames else "holds no frame")


def open_stream(
    url: str,
    *,
    open_timeout_s: float,
    read_timeout_s: float,
    rtsp_transport: Literal["tcp", "udp"] = "tcp",
    may_skip: MaySkip = skips_nothing,
    decode: Decode = "software",
    key_frames_only: bool = False,
    allowed_hosts: tuple[str, ...] = (),
    fps: float = 1.0,
    untagged_colours: UntaggedColours = "auto",
) -> Reader:
    """Open a live stream. Frames that `may_skip` need not be decoded.

    An HTTP source may also lead to the `allowed_hosts`; a snapshot is read `fps` times a second.

    Raises:
        CameraUnavailableError: it does not open; the message holds no secret.
    """
    av.logging.set_level(None)  # its messages contain URLs with credentials
    scheme = urlsplit(url).scheme.lower()
    is_web = scheme in ("http", "https")
    started_s = time.monotonic()
    with ExitStack() as opened:
        opener = None
        try:
            if is_web:
                opener = HttpOpener(url, allowed_hosts, read_timeout_s, deadline_s=started_s + open_timeout_s)
                opened.callback(opener.close)
                body = opener.request(url)
                if is_mjpeg(body):
                    return MjpegReader(
                        opener,
                        url,
                        body,
                        opened.pop_all(),
                        FrameConverter("mjpeg", untagged_colours),
                        interval_s=min(1 / fps, read_timeout_s),
                        timeout_s=read_timeout_s,
                    )
                opener.reuse(url, body)
            hardware, decoding = find_hardware(decode)
            with rtsp_failure() as rtsp_status:
                container = av.open(
                    url,
                    options=_options(scheme, rtsp_transport, read_timeout_s),
                    timeout=(open_timeout_s, read_timeout_s),
                    io_open=None if opener is None else opener.open,
                    metadata_errors="replace",
                    hwaccel=hardware,
                )
        except (av.FFmpegError, OSError) as error:
            passed_s = time.monotonic() - started_s
            cause = (opener and opener.error) or error
            reason = (opener.failure if opener else rtsp_status()) or reason_of(
                cause, passed_s, min(open_timeout_s, read_timeout_s), "no answer for"
            )
            if scheme in _RTSP and isinstance(error, av.error.ArgumentError):
                reason = REDIRECTED
            raise CameraUnavailableError(reason, hint="Check address, credentials and network") from None
        opened.enter_context(container)
        if opener is not None:
            opener.deadline_s = None
        return VideoReader(
            container,
            choose_video(container),
            Live(read_timeout_s, opener),
            opened.pop_all(),
            decoding=decoding,
            may_skip=may_skip,
            key_frames_only=key_frames_only,
            untagged_colours=untagged_colours,
        )


def _options(scheme: str, rtsp_transport: str, read_timeout_s: float) -> dict[str, str]:
    options = {"protocol_whitelist": _PROTOCOLS[scheme], "timeout": str(round(read_timeout_s * US_PER_S))}
    if scheme in _RTSP:
        return {**options, **_RTSP_FAST, "rtsp_transport": rtsp_transport}
    if scheme in ("http", "https"):
        # Libav must not reuse a connection for the next segment: `HttpOpener` owns it.
        return {**options, **_OTHER_FAST, "http_persistent": "0", "http_multiple": "0"}
    return {**options, **_OTHER_FAST}
