"""`framematch edge`: cameras in, frames on Kafka out; or, with --dry-run, what they would send."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from framematch.cli.common import CONFIG_OPTION, needs, overrides
from framematch.core.errors import UsageError
from framematch.core.lifecycle import run_service
from framematch.core.logging import configure_logging
from framematch.core.names import valid_camera_id
from framematch.core.redact import redact_argument, redact_uncaught
from framematch.core.settings import Settings
from framematch.core.settings_sources import load_settings

_HINT = "For example: --camera till-1=video.mp4"


class EdgeCommand(TyperCommand):
    """Quotes no credentials when it says what is wrong with its arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # Any: Typer names no public type for it
        """See `TyperCommand`."""
        try:
            return super().parse_args(ctx, args)
        except TyperException as error:
            error.message = redact_argument(error.message)
            raise


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
    transport: Literal["tcp", "udp"] | None = typer.Option(None, help="Of RTSP streams.", show_default="tcp"),
    motion: bool | None = typer.Option(
        None, "--motion/--no-motion", help="Leave out frames in which nothing moves.", show_default="--no-motion"
    ),
    regions: Literal["whole", "motion", "grid"] | None = typer.Option(
        None, help="What is matched: the whole frame, what moved, or the fields of a grid.", show_default="whole"
    ),
    loop: bool = typer.Option(False, "--loop", help="Play files and folders again and again."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Try the cameras without Kafka and show what they give."),
    seconds: float = typer.Option(10.0, min=1.0, help="Of a dry run."),
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Of a dry run: keep the last frame of each camera there."),
    ] = None,
    as_json: bool = typer.Option(False, "--json", help="Of a dry run: print JSON in place of a table."),
) -> None:
    """Sample camera feeds and publish the frames as JPEGs to Kafka.

    A source is a stream (rtsp, rtsps, http, https, rtmp, udp …), a video file, a device number, or a folder of images.
    A stream or device that goes away is opened again for ever, with growing pauses; files and folders are played once,
    in their own time, and when nothing else is left the command ends. SIGTERM sends what is in flight first.

    Cameras in the file of --config may be added, changed and removed while the service runs: it sees a changed file
    within seconds, and SIGHUP makes it look at once.

    A camera with a password belongs into a file: `@FILE` is a source whose text is the one line of that file, as
    Docker and Kubernetes hand out secrets, and in the file of --config `${NAME}` stands for an environment variable.
    Passwords given here are taken out of the process list at once, but your shell remembers them:

        edge:
          cameras:
            till-1: rtsp://user:${TILL_PASSWORD}@10.0.0.5/stream1

    For example:

        framematch edge --camera till-1=rtsp://10.0.0.5/stream1 --camera till-2=0

        framematch edge --camera till-1=@/run/secrets/till-1 --transport udp --motion --regions motion

        framematch edge --camera shelf=videos/shelf.mp4 --fps 2 --loop

        framematch edge --config edge.yaml

        framematch edge --config edge.yaml --dry-run --out pictures
    """
    with needs("edge"):
        _show_no_secrets()

    section = {
        "fps": fps,
        "max_side": max_side,
        "jpeg_quality": jpeg_quality,
        "rtsp_transport": transport,
        "motion": None if motion is None else {"gate": motion},
        "regions": regions,
        "cameras": parse_cameras(camera or []) or None,
    }
    given = overrides(edge=section)
    # What a dry run has to say stands in its table, also why a camera cannot be opened.
    defaults: dict[str, Any] = {"log": {"level": "error"}} if dry_run else {}

    def load() -> Settings:
        return load_settings(config, given, defaults)

    settings = load()
    configure_logging(settings.log.level, settings.log.format, service="edge")
    if dry_run:
        _try(settings, seconds=seconds, repeat=loop, folder=out, as_json=as_json)
        return
    _serve(settings, load, _settings_file(config), repeat=loop)


def _serve(settings: Settings, load: Callable[[], Settings], file: Path | None, *, repeat: bool) -> None:
    """Run the service; `load` and `file` are where it looks for changed settings."""
    with needs("edge"):
        from edge.pipeline import run_edge
        from edge.reload import SettingsWatch

    watch = SettingsWatch(load, file, settings)
    run_service(
        lambda stop: run_edge(settings, stop, repeat=repeat, watch=watch),
        shutdown_deadline_s=settings.shutdown_deadline_s,
    )


def _try(settings: Settings, *, seconds: float, repeat: bool, folder: Path | None, as_json: bool) -> None:
    """Run the cameras for a while without Kafka, show what they gave, and exit with 1 when one gave nothing."""
    with needs("edge"):
        from edge.dry_run import ProbeResult, probe_cameras
        from framematch.cli.edge_trials import print_results

    results: list[ProbeResult] = []

    async def run(stop: asyncio.Event) -> None:
        results.extend(await probe_cameras(settings, stop, seconds=seconds, repeat=repeat, folder=folder))

    run_service(run, shutdown_deadline_s=settings.shutdown_deadline_s)
    print_results(results, as_json=as_json)
    if not all(result.has_frames for result in results):
        raise typer.Exit(1)


def _show_no_secrets() -> None:
    """Take credentials out of this process's arguments, which everyone on the machine can read, and out of tracebacks.

    Raises:
        ImportError: the package for it is not installed.
    """
    from setproctitle import setproctitle

    setproctitle(" ".join(["framematch", *(redact_argument(argument) for argument in sys.argv[1:])]))
    redact_uncaught()


def _settings_file(config: Path | None) -> Path | None:
    if config is None and (named := os.environ.get("FRAMEMATCH_CONFIG")):
        return Path(named)
    return config


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
            raise UsageError(f"--camera {redact_argument(text)}: not of the form ID=SOURCE", hint=_HINT)
        try:
            valid_camera_id(name)
        except ValueError as error:
            raise UsageError(f"--camera: {error}") from None
        if name in cameras:
            raise UsageError(f"--camera {name} is given twice", hint="Each camera needs an id of its own")
        cameras[name] = source
    return cameras
