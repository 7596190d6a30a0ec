"""Probes cameras without Kafka: the real data flow up to the JPEG, and how much would be sent."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from edge.cameras import Camera, cameras_from
from edge.drawing import draw_regions
from edge.limits import check_limits, raise_open_files
from edge.manager import CameraManager
from edge.metrics import EdgeMetrics
from edge.processes import CameraProcesses
from edge.sinks import Outgoing
from edge.snapshot import StatsSnapshot
from edge.stats import CameraStats
from framematch.core.errors import UsageError
from framematch.core.health import new_registry
from framematch.core.lifecycle import first_of
from framematch.core.private_files import make_private_folder, write_private
from framematch.core.settings import Settings


@dataclass(frozen=True)
class ProbeResult:
    """What one camera delivered. Rates are None for fewer than two frames; `state` is `online` or why it is not.

    `failed`: a file or folder could not be read to its end. `picture` is the file name of the last frame in the folder.
    """

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
    decoder: str | None
    decoder_reason: str | None
    drops: dict[str, int]
    failed: bool = False
    picture: str | None = None

    @property
    def has_frames(self) -> bool:
        """Whether there was a frame to send."""
        return self.frames > 0


class FrameCounter:
    """The sink of one camera: counts its frames and keeps the last one."""

    spooled_frames = spooled_bytes = 0

    def __init__(self, stats: CameraStats) -> None:
        self._stats = stats
        self._frames = 0
        self._bytes = 0
        self._regions = 0
        self._first_s = self._last_s = 0.0
        self.last: Outgoing | None = None

    async def put(self, outgoing: Outgoing) -> None:
        """Count a frame; for the statistics it is sent."""
        self._stats.published(len(outgoing.jpeg), 0.0)
        if not self._frames:
            self._first_s = outgoing.grabbed_s
        self._frames += 1
        self._bytes += len(outgoing.jpeg)
        self._regions += len(outgoing.frame.regions) or 1
        self._last_s = outgoing.grabbed_s
        self.last = outgoing

    async def drained(self) -> None:
        """Return at once: no frame waits here."""

    def result(self, camera: Camera, stats: StatsSnapshot) -> ProbeResult:
        """What was measured, with the camera's statistics at the end."""
        last_s = stats.last_frame_at_s or 0.0
        # Between the first and the last frame of the source there is one interval less than frames.
        intervals = stats.source_frames - 1
        measured = self.last is not None and intervals > 0 and last_s > self._first_s
        source_fps = intervals / (last_s - self._first_s) if measured else None
        # The statistics are a little older than the last frame.
        sent_for_s = max(last_s, self._last_s) - self._first_s + 1 / source_fps if source_fps else None
        width, height = stats.resolution or (None, None)
        return ProbeResult(
            camera=camera.id,
            source=str(camera.source),
            state=stats.closed_because or "online",
            width=width,
            height=height,
            source_fps=source_fps,
            frames=self._frames,
            frames_per_s=self._frames / sent_for_s if sent_for_s else None,
            bytes_per_s=self._bytes / sent_for_s if sent_for_s else None,
            jpeg_bytes=self._bytes // self._frames if self._frames else None,
            still_frames=stats.still,
            regions_per_frame=self._regions / self._frames if self._frames else None,
            clock=stats.clock,
            decoder=stats.decoder,
            decoder_reason=stats.decoder_reason,
            drops=stats.drops,
            failed=stats.failed and not camera.source.live,
        )


class FrameCounters(dict[str, FrameCounter]):
    """The sinks of all cameras by id, in place of Kafka's outboxes."""

    def outbox(self, camera: str, stats: CameraStats, /, *, live: bool) -> FrameCounter:
        """The counter of a camera; live or not, it never waits."""
        del live
        return self.setdefault(camera, FrameCounter(stats))

    async def remove(self, camera: str) -> None:
        """Forget the frames of a camera."""
        del self[camera]


async def probe_cameras(
    settings: Settings, stop: asyncio.Event, *, seconds: float, repeat: bool = False, folder: Path | None = None
) -> tuple[ProbeResult, ...]:
    """Run all cameras for `seconds`, or until `stop` is set or all have ended, and measure what each delivers.

    The time starts when every camera has opened or failed. The last frame of each is written to `folder` as it would be
    sent, and once more with its regions and masks drawn.

    Raises:
        UsageError: no cameras, more than the system allows, a source that cannot be right, or a folder that cannot be
            made.
    """
    cameras = cameras_from(settings.edge)
    if not cameras:
        raise UsageError("no cameras are set", hint="A dry run has no Kafka, so it knows no wanted cameras")
    raise_open_files()
    check_limits(len(cameras))
    if folder is not None:
        _create(folder)
    counters = FrameCounters()
    with CameraProcesses() as processes:
        async with CameraManager(settings, EdgeMetrics(new_registry()), counters, processes, repeat=repeat) as manager:
            await manager.apply(cameras)
            await first_of(manager.all_ended(), stop.wait(), _measured(manager, seconds))
            # Before they are stopped: a running camera is online, not stopped.
            manager.refresh()
            snapshots = {name: stats.snapshot() for name, stats in manager.stats.items()}
    results = [counters[camera.id].result(camera, snapshots[camera.id]) for camera in cameras]
    if folder is None:
        return tuple(results)
    names = picture_names([camera.id for camera in cameras])
    await asyncio.to_thread(_save, cameras, counters, folder, names)
    return tuple(replace(one, picture=f"{names[one.camera]}.jpg" if one.has_frames else None) for one in results)


def picture_names(cameras: Sequence[str]) -> dict[str, str]:
    """The file name of each camera's pictures, without `.jpg`: its id, with a number where files would be the same.

    Camera `a` also has `a-regions.jpg`. Some disks do not tell upper from lower case.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for camera in cameras:
        for number in count(1):
            name = camera if number == 1 else f"{camera}-{number}"
            files = {name.casefold(), f"{name}-regions".casefold()}
            if not files & taken:
                break
        names[camera] = name
        taken |= files
    return names


async def _measured(manager: CameraManager, seconds: float) -> None:
    """Return `seconds` after every camera has opened or failed; processes take a while to start."""
    while any(stats.snapshot().closed_because == "starting" for stats in manager.stats.values()):
        manager.changed.clear()
        await manager.changed.wait()
    await asyncio.sleep(seconds)


def _create(folder: Path) -> None:
    try:
        make_private_folder(folder)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}", hint="Give another with --out") from None


def _save(cameras: tuple[Camera, ...], counters: FrameCounters, folder: Path, names: dict[str, str]) -> None:
    for camera in cameras:
        if last := counters[camera.id].last:
            drawn = draw_regions(last.jpeg, last.frame.regions, camera.masks)
            write_private(folder / f"{names[camera.id]}.jpg", last.jpeg)
            write_private(folder / f"{names[camera.id]}-regions.jpg", drawn)
