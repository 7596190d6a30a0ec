"""Detects changed settings while the service runs: watches their file, the files of sources, and SIGHUP."""

import asyncio
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import structlog

from edge.cameras import Camera, cameras_from
from edge.sources import source_file
from edge.worker.readers import check_files
from framematch.core.errors import FramematchError, UsageError
from framematch.core.redact import redact_url
from framematch.core.settings import Settings

log = structlog.get_logger()

# Settings of which a `Camera` is made. All others were passed to parts of the service when they started.
_RELOADABLE = frozenset(
    {"allowed_hosts", "cameras", "fps", "max_side", "jpeg_quality", "motion", "regions", "rtsp_transport"}
)
_SECTIONS = ("edge", "http", "kafka", "log", "tracing")
_RETRY_POLLS = 10  # a refused file is read again: a video that it names, for example, may exist by now

Cause = Literal["file", "signal", "retry"]
Version = tuple[int, int, int] | None
"""Modification time in nanoseconds, size in bytes and inode; None while the file does not exist."""


@dataclass(frozen=True)
class CameraChanges:
    """How the cameras differ from those before."""

    added: tuple[Camera, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[Camera, ...] = ()


@dataclass(frozen=True)
class Accepted:
    """Settings to apply: exactly `cameras` are to run."""

    cameras: tuple[Camera, ...]
    changes: CameraChanges


@dataclass(frozen=True)
class Refused:
    """Invalid settings; those before stay in force. Neither text contains a secret."""

    reason: str
    hint: str


def compare(old: Iterable[Camera], new: Iterable[Camera]) -> CameraChanges:
    """The changes that lead from the `old` cameras to the `new` ones."""
    before = {camera.id: camera for camera in old}
    after = {camera.id: camera for camera in new}
    return CameraChanges(
        added=tuple(camera for camera in after.values() if camera.id not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(camera for camera in after.values() if before.get(camera.id, camera) != camera),
    )


def needing_restart(old: Settings, new: Settings) -> tuple[str, ...]:
    """The names, never the values, of settings that differ and that the running service cannot apply."""
    names = [
        f"{section}.{key}"
        for section in _SECTIONS
        for key in type(getattr(old, section)).model_fields
        if not (section == "edge" and key in _RELOADABLE)
        and getattr(getattr(old, section), key) != getattr(getattr(new, section), key)
    ]
    if old.shutdown_deadline_s != new.shutdown_deadline_s:
        names.append("shutdown_deadline_s")
    return tuple(names)


class SettingsWatch:
    """A context in which SIGHUP makes the service read its settings again instead of ending it.

    `load` reads the settings from all their sources. Watched are `file`, and the files of cameras whose source is
    `@FILE`. `settings` are in force, with their `cameras`. A changed file is read once two checks, `poll_s` apart, find
    it the same, so that it is not read half-written. A file that is replaced by a rename or behind a symbolic link, as
    Kubernetes does it, is noticed too.
    """

    def __init__(
        self, load: Callable[[], Settings], file: Path | None, settings: Settings, *, poll_s: float = 1.0
    ) -> None:
        self._load = load
        self._file = file
        self._started = settings
        self._poll_s = poll_s
        self._signalled = asyncio.Event()
        self._refused: Refused | None = None
        self._restart: tuple[str, ...] = ()
        self._source_files = _source_files(settings)
        # Of the files as they were read last. None at first, so that a change before the first check is not missed.
        self._versions: dict[Path, Version] | None = None
        self.cameras = cameras_from(settings.edge)

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._signalled.set)
        return self

    def __exit__(self, *_error: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)

    async def next(self) -> Accepted | Refused:
        """Return the next settings to apply, or the reason why they are refused. Each version is logged once.

        Also returns after a SIGHUP without changes, and when a refused file has the old settings again.
        """
        while True:
            cause = await self._next_cause()
            try:
                settings, cameras = await asyncio.to_thread(self._read)
            except FramematchError as error:
                refused = Refused(redact_url(error.message), redact_url(error.hint))
            except Exception as error:  # a defect in reading settings must not stop running cameras
                log.exception("settings_reading_crashed")
                refused = Refused(f"a defect: {type(error).__name__}", "The log has its traceback")
            else:
                changes = compare(self.cameras, cameras)
                restart = needing_restart(self._started, settings)
                if changes != CameraChanges() or restart != self._restart or self._refused or cause == "signal":
                    return self._accept(Accepted(cameras, changes), restart, cause)
                continue
            if cause != "retry" or refused != self._refused:
                return self._refuse(refused, cause)

    async def _next_cause(self) -> Cause:
        """Wait until the settings are to be read, and return why."""
        seen: dict[Path, Version] | None = None
        polls = 0
        while True:
            polls += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._signalled.wait()
            if self._signalled.is_set():
                self._signalled.clear()
                return "signal"
            before, seen = seen, _versions(self._watched)
            if seen == before and seen != self._versions:
                return "file"
            if self._refused and polls >= _RETRY_POLLS:
                return "retry"

    @property
    def _watched(self) -> list[Path]:
        return [*([self._file] if self._file else []), *self._source_files]

    def _read(self) -> tuple[Settings, tuple[Camera, ...]]:
        """Runs in a thread, because disks may be slow and videos are opened."""
        self._versions = _versions(self._watched)
        settings = self._load()
        self._source_files = _source_files(settings)
        # Each version is taken before its file is read: what is written later counts as a change.
        self._versions = {path: self._versions.get(path, _version(path)) for path in self._watched}
        if not settings.edge.cameras:
            raise UsageError("no cameras are set", hint="To read none, stop the service")
        cameras = cameras_from(settings.edge)
        changes = compare(self.cameras, cameras)
        check_files((*changes.added, *changes.changed))
        return settings, cameras

    def _refuse(self, refused: Refused, cause: Cause) -> Refused:
        self._refused = refused
        log.error("settings_refused", cause=cause, reason=refused.reason, hint=refused.hint)
        return refused

    def _accept(self, accepted: Accepted, restart: tuple[str, ...], cause: Cause) -> Accepted:
        self._refused = None
        self.cameras = accepted.cameras
        log.info(
            "settings_accepted",
            cause=cause,
            added=len(accepted.changes.added),
            removed=len(accepted.changes.removed),
            changed=len(accepted.changes.changed),
        )
        if restart:
            log.warning("settings_need_restart", settings=restart)
        self._restart = restart
        return accepted


def _source_files(settings: Settings) -> list[Path]:
    texts = (camera.source.get_secret_value() for camera in settings.edge.cameras.values())
    return [path for text in texts if (path := source_file(text))]


def _versions(paths: Iterable[Path]) -> dict[Path, Version]:
    return {path: _version(path) for path in paths}


def _version(path: Path) -> Version:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
