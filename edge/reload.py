"""Detects changed settings while the service runs: watches their file, the files of sources, and SIGHUP."""

import asyncio
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import structlog

from edge.cameras import Camera, cameras_from
from edge.follow import FollowedCameras
from edge.limits import check_limits
from edge.sources import source_file
from edge.wanted import Wanted
from edge.worker.readers import check_files
from framematch.core.errors import FramematchError, UsageError
from framematch.core.redact import redact_url
from framematch.core.settings import Settings

log = structlog.get_logger()

# Settings of which a `Camera` is made. All others were passed to parts of the service when they started.
_RELOADABLE = frozenset(
    {
        "allowed_hosts", "cameras", "fps", "max_side", "jpeg_quality", "motion", "regions", "rtsp_transport",
        "follow_hosts", "follow_secrets", "follow_max",
    }
)  # fmt: skip
_SECTIONS = ("edge", "http", "kafka", "log", "tracing")
_RETRY_POLLS = 10  # a refused file is read again: a video that it names, for example, may exist by now

Cause = Literal["file", "signal", "retry", "topic"]
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
    """Settings to apply: exactly `cameras` are to run.

    `wanted` are those of them that the topic wants. `own` is False when only those have changed, so that the edge's own
    settings may be refused still.
    """

    cameras: tuple[Camera, ...]
    changes: CameraChanges
    wanted: Wanted = field(default_factory=Wanted)
    own: bool = True


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
    `@FILE`. `settings` are in force, with their `cameras` and those that `followed` has. A changed file is read once
    two checks, `poll_s` apart, find it the same, so that it is not read half-written. A file that is replaced by a
    rename or behind a symbolic link, as Kubernetes does it, is noticed too.
    """

    def __init__(
        self,
        load: Callable[[], Settings],
        file: Path | None,
        settings: Settings,
        *,
        followed: FollowedCameras | None = None,
        poll_s: float = 1.0,
    ) -> None:
        self._load = load
        self._file = file
        self._started = settings
        self._poll_s = poll_s
        self._woken = asyncio.Event()
        self._signalled = False
        self._refused: Refused | None = None
        self._restart: tuple[str, ...] = ()
        # Of the files as they were read last. None at first, so that a change before the first check is not missed.
        self._versions: dict[Path, Version] | None = None
        self.followed = followed
        self._settings = settings
        self._own = cameras_from(settings.edge)
        self.wanted = self._wanted_beside(settings, self._own)
        self.cameras = (*self._own, *self.wanted.cameras)
        self._source_files = _source_files(settings)
        if followed is not None:
            followed.listen(self._woken.set)

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_signal)
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
                settings, own, wanted = await asyncio.to_thread(self._read, cause)
            except FramematchError as error:
                refused = Refused(redact_url(error.message), redact_url(error.hint))
            except Exception as error:  # a defect in reading settings must not stop running cameras
                log.exception("settings_reading_crashed")
                refused = Refused(f"a defect: {type(error).__name__}", "The log has its traceback")
            else:
                changes = compare(self.cameras, (*own, *wanted.cameras))
                restart = needing_restart(self._started, settings)
                news = changes != CameraChanges() or restart != self._restart or wanted != self.wanted
                self._settings, self._own, self.wanted = settings, own, wanted
                if news or cause == "signal" or (self._refused and cause != "topic"):
                    return self._accept(changes, restart, cause)
                continue
            if cause != "retry" or refused != self._refused:
                return self._refuse(refused, cause)

    def _on_signal(self) -> None:
        self._signalled = True
        self._woken.set()

    async def _next_cause(self) -> Cause:
        """Wait until the settings are to be read, and return why."""
        seen: dict[Path, Version] | None = None
        polls = 0
        while True:
            polls += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._woken.wait()
            self._woken.clear()
            if self._signalled:
                self._signalled = False
                return "signal"
            if self.followed is not None and self.followed.changed:
                self.followed.changed = False
                return "topic"
            before, seen = seen, _versions(self._watched)
            if seen == before and seen != self._versions:
                return "file"
            if self._refused and polls >= _RETRY_POLLS:
                return "retry"

    @property
    def _watched(self) -> list[Path]:
        return [*([self._file] if self._file else []), *self._source_files, *self.wanted.files]

    def _read(self, cause: Cause) -> tuple[Settings, tuple[Camera, ...], Wanted]:
        """Runs in a thread, because disks may be slow and videos are opened."""
        if cause == "topic":
            wanted = self._wanted_beside(self._settings, self._own)
            check_limits(len(self._own) + len(wanted.cameras))
            return self._settings, self._own, wanted
        self._versions = _versions(self._watched)
        settings = self._load()
        self._source_files = _source_files(settings)
        if not settings.edge.cameras and self.followed is None:
            raise UsageError("no cameras are set", hint="To read none, stop the service")
        own = cameras_from(settings.edge)
        changes = compare(self._own, own)
        check_files((*changes.added, *changes.changed))
        wanted = self._wanted_beside(settings, own)
        check_limits(len(own) + len(wanted.cameras))
        # Each version is taken before its file is read: what is written later counts as a change.
        self._versions = {path: self._versions.get(path, _version(path)) for path in (*self._watched, *wanted.files)}
        return settings, own, wanted

    def _wanted_beside(self, settings: Settings, own: Iterable[Camera]) -> Wanted:
        if self.followed is None:
            return Wanted()
        return self.followed.wanted(settings, {camera.id for camera in own})

    def _refuse(self, refused: Refused, cause: Cause) -> Refused:
        self._refused = refused
        log.error("settings_refused", cause=cause, reason=refused.reason, hint=refused.hint)
        return refused

    def _accept(self, changes: CameraChanges, restart: tuple[str, ...], cause: Cause) -> Accepted:
        if cause != "topic":
            self._refused = None
        self.cameras = (*self._own, *self.wanted.cameras)
        log.info(
            "settings_accepted",
            cause=cause,
            added=len(changes.added),
            removed=len(changes.removed),
            changed=len(changes.changed),
        )
        if restart and cause != "topic":
            log.warning("settings_need_restart", settings=restart)
        self._restart = restart
        return Accepted(self.cameras, changes, self.wanted, own=cause != "topic")


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
