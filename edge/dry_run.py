"""Tries cameras without Kafka: the real way of their frames up to the JPEG, and what it would cost to send them."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from edge.cameras import Camera, cameras_from
from edge.crew import Crew
from edge.drawing import draw_regions
from edge.keeper import Keeper
from edge.meter import CameraMeter, Reading
from edge.metrics import EdgeMetrics
from edge.outgoing import Outgoing
from edge.processes import CameraProcesses
from framematch.core.errors import UsageError
from framematch.core.health import new_registry
from framematch.core.lifecycle import first_of
from framematch.core.settings import Settings


@dataclass(frozen=True)
class Trial:
    """What one camera gave. Rates are None for fewer than two frames; `state` says why there are no more, if so."""

    camera: str
    source: str
    state: str
    width: int | None
    height: int | None
    source_fps: float | None
    frames: int
    frames_per_s: float | None
    bytes_per_s: float | None
    jpeg_bytes: int | None
    still_frames: int
    regions_per_frame: float | None
    clock: str | None
    drops: dict[str, int]

    @property
    def gave_frames(self) -> bool:
        """Whether there was at least one frame to send."""
        return self.frames > 0


class Tally:
    """Takes the frames of one camera in place of Kafka, counts them and keeps the last."""

    def __init__(self) -> None:
        self._frames = 0
        self._bytes = 0
        self._regions = 0
        self._first_s = self._last_s = 0.0
        self.last: Outgoing | None = None

    async def take(self, outgoing: Outgoing) -> None:
        """Count this frame; a `Sink`."""
        if not self._frames:
            self._first_s = outgoing.grabbed_s
        self._frames += 1
        self._bytes += len(outgoing.jpeg)
        self._regions += len(outgoing.frame.regions) or 1
        self._last_s = outgoing.grabbed_s
        self.last = outgoing

    def trial(self, camera: Camera, reading: Reading) -> Trial:
        """All that is known, with the camera's account at the end."""
        last_s = reading.last_frame_at_s or 0.0
        # From the first to the last frame of the source there is one interval less than frames.
        intervals = reading.source_frames - 1
        measured = self.last is not None and intervals > 0 and last_s > self._first_s
        source_fps = intervals / (last_s - self._first_s) if measured else None
        # The account is a little older than the last frame.
        sent_for_s = max(last_s, self._last_s) - self._first_s + 1 / source_fps if source_fps else None
        width, height = reading.resolution or (None, None)
        return Trial(
            camera=camera.id,
            source=str(camera.source),
            state=reading.closed_because or "online",
            width=width,
            height=height,
            source_fps=source_fps,
            frames=self._frames,
            frames_per_s=self._frames / sent_for_s if sent_for_s else None,
            bytes_per_s=self._bytes / sent_for_s if sent_for_s else None,
            jpeg_bytes=self._bytes // self._frames if self._frames else None,
            still_frames=reading.still,
            regions_per_frame=self._regions / self._frames if self._frames else None,
            clock=reading.clock,
            drops=reading.drops,
        )


async def try_cameras(
    settings: Settings, stop: asyncio.Event, *, seconds: float, repeat: bool = False, folder: Path | None = None
) -> tuple[Trial, ...]:
    """Run all cameras for `seconds`, or until `stop` is set or all have ended, and say what each gave.

    The time starts when every camera has opened or failed. The last frame of each is left in `folder` as it would be
    sent, and once more with its regions and masks drawn.

    Raises:
        UsageError: no cameras, a source that cannot be right, or a folder that cannot be made.
    """
    cameras = cameras_from(settings.edge)
    if folder is not None:
        _make(folder)
    metrics = EdgeMetrics(new_registry())
    changed = asyncio.Event()
    tallies = {camera.id: Tally() for camera in cameras}
    meters = {camera.id: CameraMeter(camera.id, metrics.of(camera.id), changed.set) for camera in cameras}
    with CameraProcesses() as processes:

        def hire(camera: Camera) -> tuple[Keeper, CameraMeter]:
            keeper = Keeper(
                camera,
                settings.edge,
                meters[camera.id],
                processes,
                tallies[camera.id].take,
                jpeg_bytes_max=settings.kafka.max_message_bytes,
                repeat=repeat,
            )
            return keeper, meters[camera.id]

        async with Crew(hire, lambda _meter: None) as crew:
            await crew.apply(cameras)
            await first_of(crew.quiet(), stop.wait(), _tried(meters, changed, seconds))
            # Before they are stopped: a camera that runs is online, not stopped.
            readings = {name: meter.read() for name, meter in meters.items()}
    if folder is not None:
        await asyncio.to_thread(_save, cameras, tallies, folder)
    return tuple(tallies[camera.id].trial(camera, readings[camera.id]) for camera in cameras)


async def _tried(meters: dict[str, CameraMeter], changed: asyncio.Event, seconds: float) -> None:
    """Return `seconds` after every camera has opened or failed; processes take a while to start."""
    while any(meter.read().closed_because == "starting" for meter in meters.values()):
        changed.clear()
        await changed.wait()
    await asyncio.sleep(seconds)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}", hint="Give another with --out") from None


def _save(cameras: tuple[Camera, ...], tallies: dict[str, Tally], folder: Path) -> None:
    for camera in cameras:
        if last := tallies[camera.id].last:
            drawn = draw_regions(last.jpeg, last.frame.regions, camera.masks)
            (folder / f"{camera.id}.jpg").write_bytes(last.jpeg)
            (folder / f"{camera.id}-regions.jpg").write_bytes(drawn)
