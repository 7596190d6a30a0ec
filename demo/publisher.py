"""Publishes a rendered feed to an RTSP server in real time: `python -m demo.publisher FEED.mp4 URL [--loop]`."""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
from av import Packet, VideoStream
from av.container import InputContainer, OutputContainer

from framematch.core.errors import FramematchError, UnavailableError, UsageError
from framematch.core.redact import redact_uncaught, redact_url

# libavformat's options: RTP inside the RTSP connection, and the socket's timeout in microseconds.
_RTSP = {"rtsp_transport": "tcp", "timeout": "5000000"}
_ATTEMPTS = 3


def main() -> int:
    """Publish until the feed ends or SIGTERM; one line on stderr and exit code 1 when the server is unavailable."""
    redact_uncaught()
    parser = argparse.ArgumentParser(description="Publish a video file to an RTSP server in real time.")
    parser.add_argument("feed", type=Path)
    parser.add_argument("url")
    parser.add_argument("--loop", action="store_true", help="repeat until stopped")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        publish(arguments.feed, arguments.url, loop=arguments.loop, stop=stop)
    except FramematchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def publish(feed: Path, url: str, *, loop: bool, stop: threading.Event) -> None:
    """Send the packets of `feed` in real time without re-encoding; `stop` ends it between two packets.

    Raises:
        UsageError: `feed` is not a video.
        UnavailableError: the server does not answer, refuses the path, or fails during playback.
    """
    try:
        source = av.open(str(feed))
    except av.FFmpegError as error:
        raise UsageError(f"cannot read the feed {feed}: {error.strerror}") from error
    with source:
        try:
            with _announced(url, source.streams.video[0]) as server:
                stream = server.streams.video[0]
                for packet in _paced(_packets(source, loop=loop), stop):
                    packet.stream = stream
                    server.mux(packet)
        except (av.FFmpegError, OSError) as error:
            raise UnavailableError(
                f"cannot publish to {redact_url(url)}: {error.strerror}", hint="Is an RTSP server listening there?"
            ) from error


def _announced(url: str, video: VideoStream) -> OutputContainer:
    """Announce a session on the server, and return it ready for packets.

    Retries, because MediaMTX refuses a publisher while it closes the same path, as after a reader that came too early.
    """
    attempt = 1
    while True:
        server = av.open(url, "w", format="rtsp", options=_RTSP)
        try:
            server.add_stream_from_template(video)
            server.start_encoding()
        except (av.FFmpegError, OSError):
            server.close()
            if attempt == _ATTEMPTS:
                raise
            attempt += 1
        else:
            return server


def _packets(source: InputContainer, *, loop: bool) -> "Iterator[Packet[VideoStream]]":
    """The video's packets, with times that keep increasing from one repetition to the next."""
    video = source.streams.video[0]
    shift = 0
    while True:
        for packet in source.demux(video):
            if packet.dts is not None and packet.pts is not None:  # the last packet is empty
                packet.dts += shift
                packet.pts += shift
                yield packet
        if not loop:
            return
        shift += video.duration or 0
        source.seek(0, stream=video)


def _paced(packets: "Iterator[Packet[VideoStream]]", stop: threading.Event) -> "Iterator[Packet[VideoStream]]":
    """Yield each packet at its time after the first one, until `stop` is set."""
    started = time.monotonic()
    for packet in packets:
        due_s = float((packet.dts or 0) * packet.time_base)
        if stop.wait(started + due_s - time.monotonic()):
            return
        yield packet


if __name__ == "__main__":
    sys.exit(main())
