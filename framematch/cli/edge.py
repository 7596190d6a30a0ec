"""`framematch edge`: cameras in, frames on Kafka out."""

from pathlib import Path
from typing import Annotated

import typer

from framematch.cli.common import CONFIG_OPTION, needs, overrides, prepare
from framematch.core.errors import UsageError
from framematch.core.lifecycle import run_service
from framematch.core.names import valid_camera_id
from framematch.core.redact import redact_url

_HINT = "For example: --camera till-1=video.mp4"


def edge(
    *,
    camera: Annotated[
        list[str] | None, typer.Option(metavar="ID=SOURCE", help="A camera; give it several times for several.")
    ] = None,
    config: Path | None = CONFIG_OPTION,
    fps: float | None = typer.Option(None, help="Frames sent per second and camera.", show_default="5"),
    max_side: int | None = typer.Option(
        None, help="Pixels; larger pictures are scaled down before they are sent.", show_default="640"
    ),
    jpeg_quality: int | None = typer.Option(None, help="1 to 100.", show_default="85"),
    loop: bool = typer.Option(False, "--loop", help="Play files and folders again and again."),
) -> None:
    """Sample camera feeds and publish the frames as JPEGs to Kafka.

    A source is a stream (rtsp, rtsps, http, https, rtmp, udp …), a video file, a device number, or a folder of images.
    A stream or device that goes away is opened again for ever, with growing pauses; files and folders are played once,
    in their own time, and when nothing else is left the command ends. SIGTERM sends what is in flight first.

    Everyone on this machine can read arguments (`ps`), so better put cameras with passwords into the file of --config,
    where `${NAME}` stands for an environment variable:

        edge:
          cameras:
            till-1: rtsp://user:${TILL_PASSWORD}@10.0.0.5/stream1

    For example:

        framematch edge --camera till-1=rtsp://10.0.0.5/stream1 --camera till-2=0

        framematch edge --camera shelf=videos/shelf.mp4 --fps 2 --loop

        framematch edge --config edge.yaml
    """
    with needs("edge"):
        from edge.pipeline import run_edge

    section = {
        "fps": fps,
        "max_side": max_side,
        "jpeg_quality": jpeg_quality,
        "cameras": parse_cameras(camera or []) or None,
    }
    settings = prepare("edge", config, overrides(edge=section))
    run_service(lambda stop: run_edge(settings, stop, repeat=loop), shutdown_deadline_s=settings.shutdown_deadline_s)


def parse_cameras(given: list[str]) -> dict[str, str]:
    """Sources by camera id, from `ID=SOURCE` each.

    Raises:
        UsageError: not of that form, or an id is given twice.
    """
    cameras: dict[str, str] = {}
    for text in given:
        name, separator, source = text.partition("=")
        # A URL without an id may hold "=" and a password too.
        if not separator or not source or "://" in name:
            raise UsageError(f"--camera {redact_url(text)}: not of the form ID=SOURCE", hint=_HINT)
        try:
            valid_camera_id(name)
        except ValueError as error:
            raise UsageError(f"--camera: {error}") from None
        if name in cameras:
            raise UsageError(f"--camera {name} is given twice", hint="Each camera needs an id of its own")
        cameras[name] = source
    return cameras
