"""Reads the frames of an open stream or video file."""

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.video.stream import VideoStream

from edge.worker.decoded import STRICT, FrameConverter
from edge.worker.errors import reason_of
from edge.worker.file_times import FileTimes
from edge.worker.hardware import Decoding
from edge.worker.http_source import HttpOpener
from edge.worker.jpeg_frame import is_whole
from edge.worker.nonreference import NonReferenceFinder
from edge.worker.source import GrabbedFrame, MaySkip, RawFrame
from framematch.core.errors import CameraUnavailableError
from framematch.core.settings import UntaggedColours
from framematch.core.units import US_PER_S

_DEFAULT_FPS = 25.0  # of a video without frame times and without a rate
_INTERVAL_MAX_S = 1.0  # between the frames of a file whose times are of no use
# In read timeouts: how long packets may give nothing but damage.
TIMEOUTS_WITH_DAMAGE = 3
# In read timeouts: how long packets may give nothing because all wait for a key frame. Cameras with a "smart codec"
# send one every few minutes; one that is opened again would wait for as long again.
_TIMEOUTS_WITHOUT_KEY_FRAME = 60
_SIGN_OF_LIFE_S = 0.5
_WITHOUT_PICTURE_MAX = 100  # packets, of which hardware that works holds back a few
# Decoders that give grey pictures, unmarked, when a stream is joined between two key frames.
_STARTS_ANYWHERE = frozenset({"mpeg4", "h263", "flv", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2"})
# Formats without frame times: libav assumes 25 frames a second.
_TIMELESS = frozenset({"mpjpeg", "mjpeg", "h264", "hevc", "m4v", "image2pipe"})


@dataclass(frozen=True)
class Live:
    """What is needed for a live source: its timeout, and what opens the URLs of an HTTP source."""

    read_timeout_s: float
    opener: HttpOpener | None


class VideoReader:
    """Reads one stream of a container. Frames that the decoder reports as damaged, or fails on, are marked as such.

    With `key_frames_only` no other frames are decoded. Of the others, those are not decoded that `may_skip` and that no
    other frame needs. `decoding` is what the stream's decoder was opened with; where hardware gives no picture,
    software takes over. `resources` are closed at the end.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        live: Live | None,
        resources: ExitStack,
        *,
        decoding: Decoding,
        may_skip: MaySkip,
        key_frames_only: bool,
        untagged_colours: UntaggedColours,
    ) -> None:
        self._container = container
        self._resources = resources
        self._live = live
        self._stream = stream
        self._decoder = decoder = stream.codec_context
        self._prepare(decoder)
        self._decoding = decoding
        self._without_picture = 0  # packets since the last picture, from a key frame on
        self._key_frames_only = key_frames_only
        self._may_skip = may_skip
        self._non_reference = NonReferenceFinder(decoder.name, decoder.extradata)
        self._independent = key_frames_only or decoder.name == "mjpeg"
        self._fields = False
        self._waits_for_key_frame = live is not None and decoder.name in _STARTS_ANYWHERE
        # What the container says about the pixels' shape counts, else what the codec says, which may change.
        aspect = stream.sample_aspect_ratio
        self._container_aspect = aspect if aspect != decoder.sample_aspect_ratio else None
        self._converter = FrameConverter(decoder.name, untagged_colours)
        rate = float(stream.average_rate or _DEFAULT_FPS)
        self._file_times = FileTimes(min(1.0 / rate, _INTERVAL_MAX_S))
        self._timeless = live is not None and container.format.name in _TIMELESS
        self._last_media_s: float | None = None
        self._last_picture_s = self._last_sign_s = time.monotonic()
        self._trouble_since_s: float | None = None
        self._frame: av.VideoFrame | None = None
        self._jpeg: Any = None  # the packet of the frame, if it is a JPEG
        self._frames = self._read()

    @property
    def decoding(self) -> Decoding:
        """What decodes the video. Hardware that has no decoder for it is not used, which shows with the first frame."""
        hardware = self._decoding.decoder
        if self._frame is None or hardware in ("software", self._decoder.pix_fmt):
            return self._decoding
        return Decoding(reason=f"{hardware}: does not decode this video ({self._decoder.name})")

    def grab(self) -> GrabbedFrame | None:
        """Decode the next frame."""
        return next(self._frames, None)

    def retrieve(self) -> RawFrame | None:
        """The decoded frame, to be converted later; None if it is damaged.

        Raises:
            CameraUnavailableError: its colours are of a kind that is not supported.
        """
        # Of a JPEG libav decodes what there is, and marks nothing as damaged.
        if self._frame is None or (self._jpeg is not None and not is_whole(bytes(self._jpeg))):
            return None
        aspect = self._container_aspect or self._decoder.sample_aspect_ratio
        return self._converter.convert(self._frame, aspect)

    def close(self) -> None:
        """Close the container and its connections."""
        self._frames.close()
        self._resources.close()

    def _read(self) -> Generator[GrabbedFrame, None, None]:
        for packet in self._packets():
            shift_s = None if self._live is not None else self._file_times.shift_s(_decoded_at_s(packet))
            if shift_s is not None:
                packet.opaque = (shift_s,)  # a new object each time: PyAV keeps them by their identity
            skipped = self._skips(packet, shift_s)
            frames = self._decode(packet, skipped=skipped)
            if not skipped:
                self._check_hardware(packet, frames)
            if skipped:
                self._last_picture_s = time.monotonic()
                yield GrabbedFrame(skipped=True)
            if frames is None:
                self._frame = None
                yield GrabbedFrame(self._packet_s(packet, shift_s), damaged=True)
            elif not (frames or skipped) and self._is_silent():
                yield GrabbedFrame(sign_of_life=True)
            for frame in frames or ():
                self._frame = frame
                self._fields = self._fields or frame.interlaced_frame
                self._jpeg = packet if self._decoder.name == "mjpeg" else None
                yield GrabbedFrame(self._media_s(frame), self._camera_s(frame), damaged=frame.is_corrupt)
            if self._live is not None and not skipped:
                self._check_pictures(packet, frames, self._live.read_timeout_s)
        if self._live is not None:
            raise CameraUnavailableError("stream ended")

    def _is_silent(self) -> bool:
        """Whether packets of a live source have given nothing for so long that a sign of life is due."""
        now_s = time.monotonic()
        silent = self._live is not None and now_s - max(self._last_sign_s, self._last_picture_s) >= _SIGN_OF_LIFE_S
        if silent:
            self._last_sign_s = now_s
        return silent

    def _prepare(self, decoder: av.VideoCodecContext) -> None:
        # With several threads the decoder delays one frame per thread, and uses more CPU.
        decoder.thread_count = 1
        if decoder.name == "mjpeg":
            decoder.options = STRICT
        if self._live is None:
            decoder.flags |= Flags.copy_opaque  # a frame gets what is attached to its packet

    def _check_hardware(self, packet: Any, frames: list[av.VideoFrame] | None) -> None:
        """Go on in software, from the next key frame on, when hardware gives no picture."""
        if frames and not all(frame.is_corrupt for frame in frames):
            self._without_picture = 0
        elif packet.is_keyframe or self._without_picture:
            self._without_picture += 1
        if self._decoding.decoder == "software" or self._without_picture < _WITHOUT_PICTURE_MAX:
            return
        decoder = av.CodecContext.create(self._decoder.name, "r")
        assert isinstance(decoder, av.VideoCodecContext)  # noqa: S101  # by its codec
        decoder.extradata = self._decoder.extradata
        self._prepare(decoder)
        self._decoding = Decoding(reason=f"{self._decoding.decoder}: gave no picture")
        self._decoder, self._frame, self._waits_for_key_frame = decoder, None, True

    def _skips(self, packet: Any, shift_s: float | None) -> bool:
        """Whether the frame in `packet` is not needed, neither as a picture nor by other frames.

        The two fields of a picture may be in two packets of different times: of them, all are decoded.
        """
        needless = (self._independent and packet.is_keyframe) or self._non_reference.is_non_reference(packet)
        if not needless or self._fields or self._timeless or packet.pts is None:
            return False
        at_s = float(packet.pts * packet.time_base) + (shift_s or 0.0)
        in_order = self._last_media_s is not None and at_s > self._last_media_s
        return in_order and self._may_skip(at_s)

    def _decode(self, packet: Any, *, skipped: bool = False) -> list[av.VideoFrame] | None:
        """The frames that come with `packet`, also none; None if it is damaged.

        If it is `skipped`, the decoder leaves out its frame, and only reads what else is in it.
        """
        try:
            if skipped:
                return [] if self._independent else self._decode_without_frame(packet)
            if not packet.is_keyframe and (self._key_frames_only or self._waits_for_key_frame):
                return []
            self._waits_for_key_frame = False
            if not self._key_frames_only:
                return list(self._decoder.decode(packet))
            # The picture would come with the next key frame only: decoders wait for what is to be shown before it.
            end = av.Packet()
            end.time_base = packet.time_base
            frames = [*self._decoder.decode(packet), *self._decoder.decode(end)]
            self._decoder.flush_buffers()
        except av.FFmpegError:
            return None
        return frames

    def _decode_without_frame(self, packet: Any) -> list[av.VideoFrame]:
        """What comes out of the decoder with a packet of which it leaves out the frame; usually nothing."""
        self._decoder.skip_frame = "NONREF"
        try:
            return list(self._decoder.decode(packet))
        finally:
            self._decoder.skip_frame = "DEFAULT"

    def _packets(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            started_s = time.monotonic()
            try:
                packet = next(packets)
            except StopIteration:
                self._raise_if_broken(started_s)
                return
            except (av.FFmpegError, OSError) as error:
                self._raise_if_broken(started_s)
                raise self._failure(error, started_s) from None
            yield packet

    def _raise_if_broken(self, started_s: float) -> None:
        """Raise the error of an HTTP source, for which libav has another or takes for the end."""
        opener = None if self._live is None else self._live.opener
        if opener is not None and opener.failure is not None:
            raise CameraUnavailableError(opener.failure)
        if opener is not None and opener.error is not None:
            raise self._failure(opener.error, started_s)

    def _failure(self, error: Exception, started_s: float) -> CameraUnavailableError:
        timeout_s = None if self._live is None else self._live.read_timeout_s
        return CameraUnavailableError(reason_of(error, time.monotonic() - started_s, timeout_s, "no frame for"))

    def _packet_s(self, packet: Any, shift_s: float | None) -> float | None:
        """The time of the frame in `packet`; with B-frames, earlier frames may still follow it."""
        if self._timeless or packet.pts is None:
            return self._last_media_s
        return float(packet.pts * packet.time_base) + (shift_s or 0.0)

    def _media_s(self, frame: av.VideoFrame) -> float | None:
        """Finite videos always get times."""
        at_s: float | None = None if self._timeless else frame.time
        if self._live is None:
            at_s = self._file_times.frame_s(at_s, _shift_of(frame))
        self._last_media_s = at_s
        return at_s

    def _camera_s(self, frame: av.VideoFrame) -> float | None:
        """From RTCP: libav reports the camera's wall clock at stream time 0."""
        zero_us = self._container.start_time_realtime
        if self._live is None or zero_us is None or frame.time is None:
            return None
        return float(zero_us / US_PER_S + frame.time)

    def _check_pictures(self, packet: Any, frames: list[av.VideoFrame] | None, timeout_s: float) -> None:
        """Fail when packets arrive, but have given no picture for too long."""
        now_s = time.monotonic()
        if frames and not all(frame.is_corrupt for frame in frames):
            self._last_picture_s, self._trouble_since_s = now_s, None
        elif frames or frames is None or packet.is_keyframe:
            if self._trouble_since_s is None:
                self._trouble_since_s = now_s
            if now_s - self._trouble_since_s > TIMEOUTS_WITH_DAMAGE * timeout_s:
                raise CameraUnavailableError(f"no decodable frame for {TIMEOUTS_WITH_DAMAGE * timeout_s:g} s")
        if now_s - self._last_picture_s > _TIMEOUTS_WITHOUT_KEY_FRAME * timeout_s:
            raise CameraUnavailableError(f"no key frame for {_TIMEOUTS_WITHOUT_KEY_FRAME * timeout_s:g} s")


def _decoded_at_s(packet: Any) -> float | None:
    at = packet.pts if packet.dts is None else packet.dts
    return None if at is None or packet.time_base is None else float(at * packet.time_base)


def _shift_of(frame: av.VideoFrame) -> float | None:
    attached = frame.opaque
    return attached[0] if isinstance(attached, tuple) else None
