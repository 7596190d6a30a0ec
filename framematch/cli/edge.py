"""`framematch edge`: publishes frames of cameras to Kafka, or with --dry-run shows what it would publish."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from framematch.cli.common import CONFIG_OPTION, overrides, prepare
from framematch.core.errors import UsageError
from framematch.core.redact import redact_argument

if TYPE_CHECKING:
    from edge.dry_run import ProbeResult
    from framematch.core.settings import Settings

_HINT = "For example: --camera till-1=video.mp4"


def edge(
    *,
    camera: Annotated[
        list[str] | None, typer.Option(metavar="ID=SOURCE", help="A camera; repeat it for several.")
    ] = None,
    config: Path | None = CONFIG_OPTION,
    fps: float | None = typer.Option(None, help="Frames per second of each camera.", show_default="5"),
    max_side: int | None = typer.Option(None, help="Pixels; larger pictures are scaled down.", show_default="640"),
    jpeg_quality: int | None = typer.Option(None, help="1 to 100.", show_default="85"),
    transport: Literal["tcp", "udp"] | None = typer.Option(None, help="Transport of RTSP streams.", show_default="tcp"),
    motion: bool | None = typer.Option(
        None, "--motion/--no-motion", help="Leave out frames without motion.", show_default="--no-motion"
    ),
    regions: Literal["whole", "motion", "grid"] | None = typer.Option(
        None, help="What is matched: the whole frame, boxes around motion, or a grid.", show_default="whole"
    ),
    loop: bool = typer.Option(False, "--loop", help="Repeat files and folders without end."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Probe the cameras without Kafka and show the results."),
    seconds: float = typer.Option(10.0, min=1.0, help="Length of a dry run."),
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Dry run: save the last frame of each camera there."),
    ] = None,
    as_json: bool = typer.Option(False, "--json", help="Dry run: print JSON instead of a table."),
) -> None:
    """Sample camera feeds and publish the frames as JPEGs to Kafka.

    A source is a stream (rtsp, rtsps, http, https, rtmp, udp …), a video file, a device number, or a folder of images.
    A failed stream or device is reopened without limit, with growing delays; files and folders are played once in real
    time, and the command ends when nothing else is left. SIGTERM first sends what is in flight.

    Cameras in the file of --config can be added, changed and removed while the service runs: it reloads a changed file
    within seconds, or at once on SIGHUP.

    With the setting `edge.follow: kafka` it also runs the cameras that the topic `.cameras` wants of it, where the REST
    API writes them; then it needs no camera of its own.

    Put a camera's password into a file: the source `@FILE` is read from that file, which has one line, such as a
    secret of Docker or Kubernetes; and in the file of --config `${NAME}` stands for an environment variable.
    Passwords in arguments are removed from the process list at once, but your shell's history keeps them:

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
    if dry_run:
        # The table of results also says why a camera cannot be opened.
        settings = prepare("edge", config, given, defaults={"log": {"level": "error"}})
        _probe(settings, seconds=seconds, repeat=loop, folder=out, as_json=as_json)
        return
    _serve(prepare("edge", config, given), config, given, repeat=loop)


def _serve(settings: "Settings", config: Path | None, given: dict[str, Any], *, repeat: bool) -> None:
    """Run the service, which reads its settings again when their file changes."""
    from edge.follow import FollowedCameras
    from edge.pipeline import run_edge
    from edge.reload import SettingsWatch
    from framematch.cli.service_log import run_logged
    from framematch.core.lifecycle import run_service
    from framematch.core.settings_sources import load_settings, settings_file

    def run() -> None:
        followed = FollowedCameras(settings) if settings.edge.follow else None
        watch = SettingsWatch(lambda: load_settings(config, given), settings_file(config), settings, followed=followed)
        run_service(
            lambda stop: run_edge(settings, stop, repeat=repeat, watch=watch),
            shutdown_deadline_s=settings.shutdown_deadline_s,
            log_crash=True,
        )

    run_logged(settings, "edge", run)


def _probe(settings: "Settings", *, seconds: float, repeat: bool, folder: Path | None, as_json: bool) -> None:
    """Run the cameras for a while without Kafka, show the results, and exit with 1 when one gave no frame or failed."""
    from edge.dry_run import probe_cameras
    from framematch.cli.probe_table import print_probe_results
    from framematch.core.lifecycle import run_service

    results: list[ProbeResult] = []

    async def run(stop: asyncio.Event) -> None:
        results.extend(await probe_cameras(settings, stop, seconds=seconds, repeat=repeat, folder=folder))

    run_service(run, shutdown_deadline_s=settings.shutdown_deadline_s)
    print_probe_results(results, as_json=as_json)
    if any(result.failed or not result.has_frames for result in results):
        raise typer.Exit(1)


def parse_cameras(given: list[str]) -> dict[str, str]:
    """Parse arguments `ID=SOURCE` to sources by camera id.

    Raises:
        UsageError: an argument has another form, or an id is given twice.
    """
    from framematch.core.frames import valid_camera_id

    cameras: dict[str, str] = {}
    for text in given:
        name, separator, source = text.partition("=")
        # A URL without an id may contain "=" and a password too.
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
