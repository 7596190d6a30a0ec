"""Reads JPEGs over HTTP: a stream of them (MJPEG), or one address that gives the present picture (a snapshot)."""

import time
from contextlib import ExitStack

import av

from edge.worker.decoded import STRICT, FrameConverter
from edge.worker.errors import reason_of
from edge.worker.hardware import SOFTWARE
from edge.worker.http_source import HttpOpener, ResponseBody
from edge.worker.jpeg_frame import is_whole
from edge.worker.jpeg_splitter import JpegSplitter
from edge.worker.source import GrabbedFrame, RawFrame
from edge.worker.video_reader import TIMEOUTS_WITH_DAMAGE
from framematch.core.errors import CameraUnavailableError
from framematch.core.units import BYTES_PER_MB

_JPEG_TYPES = frozenset({"image/jpeg", "image/jpg", "image/pjpeg"})
_STARTS = (b"\xff\xd8\xff", b"--")  # of a JPEG, of a boundary
_CHUNK_BYTES = 65_536
_PICTURE_BYTES_MAX = 64 * BYTES_PER_MB
_OTHER_BYTES_MAX = 4 * BYTES_PER_MB  # before the first picture


def is_mjpeg(body: ResponseBody) -> bool:
    """Whether JPEGs are to be expected: by what the server says, or by the first bytes where that does not decide.

    Raises:
        OSError: nothing arrives.
    """
    if body.content_type.startswith("multipart/") or body.content_type in _JPEG_TYPES:
        return True
    return body.peek(8).lstrip(b"\r\n").startswith(_STARTS)


class MjpegReader:
    """Reads the pictures of `body`, the response for `url`. Their times are those of their arrival: MJPEG has none.

    A body that is one picture is a snapshot: the next one is requested `interval_s` after it. A picture that does not
    arrive within `timeout_s` is a failure. `resources` are closed at the end.
    """

    decoding = SOFTWARE

    def __init__(
        self,
        opener: HttpOpener,
        url: str,
        body: ResponseBody,
        resources: ExitStack,
        converter: FrameConverter,
        *,
        interval_s: float,
        timeout_s: float,
    ) -> None:
        self._opener = opener
        self._url = url
        self._body = body
        self._resources = resources
        self._converter = converter
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._splitter = JpegSplitter()
        decoder = av.CodecContext.create("mjpeg", "r")
        assert isinstance(decoder, av.VideoCodecContext)  # noqa: S101  # by its codec
        decoder.options = STRICT
        self._decoder = decoder
        self._pictures = 0  # of this body
        self._requested_s = self._started_s = self._last_whole_s = time.monotonic()
        self._jpeg: bytes | None = None

    def grab(self) -> GrabbedFrame:
        """Wait for the next picture."""
        self._start_timeout()
        while (part := self._splitter.next()) is None:
            try:
                self._receive()
            except OSError as error:
                passed_s = time.monotonic() - self._started_s
                reason = reason_of(error, passed_s, self._timeout_s, "no frame for")
                raise CameraUnavailableError(self._opener.failure or reason) from None
        self._pictures += 1
        self._jpeg = part.jpeg
        self._check_damage()
        return GrabbedFrame(damaged=part.jpeg is None)

    def retrieve(self) -> RawFrame | None:
        """Decode the grabbed picture; None if it is damaged, of which libav says nothing."""
        if self._jpeg is None or not is_whole(self._jpeg):
            return None
        try:
            frames = self._decoder.decode(av.Packet(self._jpeg))
        except av.FFmpegError:
            return None
        if not frames or frames[0].is_corrupt:
            return None
        return self._converter.convert(frames[0], self._decoder.sample_aspect_ratio)

    def close(self) -> None:
        """Close the connection."""
        self._resources.close()

    def _check_damage(self) -> None:
        now_s = time.monotonic()
        limit_s = TIMEOUTS_WITH_DAMAGE * self._timeout_s
        if self._jpeg is not None:
            self._last_whole_s = now_s
        elif now_s - self._last_whole_s > limit_s:
            raise CameraUnavailableError(f"no decodable frame for {limit_s:g} s")

    def _receive(self) -> None:
        if data := self._body.read(_CHUNK_BYTES):
            self._splitter.feed(data)
            if self._splitter.skipped_bytes > _OTHER_BYTES_MAX and not self._pictures:
                raise CameraUnavailableError("sends no JPEG pictures")
            if len(self._splitter) > _PICTURE_BYTES_MAX:
                raise CameraUnavailableError(f"sends a picture of more than {_PICTURE_BYTES_MAX // BYTES_PER_MB} MB")
        elif self._pictures == 0:
            raise CameraUnavailableError("sends no JPEG pictures")
        elif self._pictures == 1 and not self._body.content_type.startswith("multipart/"):
            self._request_next()
        else:
            raise CameraUnavailableError("stream ended")

    def _request_next(self) -> None:
        time.sleep(max(0.0, self._requested_s + self._interval_s - time.monotonic()))
        self._start_timeout()
        self._requested_s = self._started_s
        self._body = self._opener.request(self._url)
        self._splitter = JpegSplitter()
        self._pictures = 0

    def _start_timeout(self) -> None:
        self._started_s = time.monotonic()
        self._opener.deadline_s = self._started_s + self._timeout_s
