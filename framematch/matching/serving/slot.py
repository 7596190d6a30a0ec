"""Follows one name of a snapshot: opens what it points to beside what is served, and then swaps one reference."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from framematch.core.backoff import Backoff
from framematch.core.errors import FramematchError, UnavailableError
from framematch.core.lifecycle import first_of, raise_if_cancelled
from framematch.matching.serving.served_snapshot import ServedSnapshot

log = structlog.get_logger()

SnapshotName = Literal["active", "shadow"]
Served = ServedSnapshot | None

# A full disk may be emptied, and Triton may load the model; a large file is not fetched again every second.
_BACKOFF_S = (1.0, 60.0)
_SERVER_AWAY_S = 5.0  # most outages are short, and what was fetched is in the cache
_BUG_HINT = "This is a bug: report it with the traceback in the log"
# Another process appends changes, and the one before the newest was not visible yet.
_INCOMPLETE_S = 0.5


@dataclass(frozen=True)
class Refusal:
    """A snapshot that a name points to and that cannot be served, and why."""

    snapshot: str
    reason: str
    hint: str


class SwapListener(Protocol):
    """Is told what a name serves now. Called on the event loop, so it must not wait."""

    def swapped(self, name: SnapshotName, old: Served, new: Served, took_s: float) -> None:
        """`new` is served from now on; opening it took this long."""

    def refused(self, name: SnapshotName, refusal: Refusal | None) -> None:
        """What the name points to cannot be served; None: it is served now, or something else is wanted."""


class SnapshotOpener(Protocol):
    """Opens snapshots for a slot."""

    async def open(self, snapshot_id: str) -> ServedSnapshot:
        """This snapshot with the newest changes, ready to serve; FramematchError when it cannot be served."""

    async def update(self, served: ServedSnapshot) -> ServedSnapshot:
        """The same snapshot with the newest changes."""


class SnapshotSlot:
    """What one name serves. It changes only to what has been opened, verified and warmed before.

    What cannot be served is refused, and tried again after a pause, and at once when the names change or MongoDB is
    back. What was served before goes on meanwhile.
    """

    def __init__(self, name: SnapshotName, opener: SnapshotOpener, listener: SwapListener) -> None:
        self.served: Served = None
        self.refusal: Refusal | None = None
        self._name = name
        self._opener = opener
        self._listener = listener
        self._wanted: tuple[str | None, int] = (None, 0)
        self._newest_delta = 0
        self._other_wanted, self._news = asyncio.Event(), asyncio.Event()

    async def open_first(self, snapshot_id: str, names_version: int) -> None:
        """Open what is served first.

        Raises:
            FramematchError: it cannot be served.
        """
        self._wanted = (snapshot_id, names_version)
        await self._open(snapshot_id)

    def follow(self, snapshot_id: str | None, names_version: int, newest_delta: int) -> None:
        """Serve this snapshot with the changes up to `newest_delta`, as soon as it is open; None: serve nothing."""
        before, self._wanted = self._wanted, (snapshot_id, names_version)
        newer = newest_delta > self._newest_delta
        self._newest_delta = newest_delta
        if snapshot_id != before[0]:
            self._other_wanted.set()
        elif self._wanted != before or (newer and self.refusal is None):
            self._news.set()

    def retry(self) -> None:
        """Try again at once what was refused."""
        self._news.set()

    async def run(self) -> None:
        """Follow until cancelled. What is being opened is given up when another snapshot is wanted."""
        while True:
            self._other_wanted.clear()
            await first_of(self._serve(self._wanted[0]), self._other_wanted.wait())

    async def _serve(self, snapshot_id: str | None) -> None:
        backoff = Backoff(*_BACKOFF_S)
        self._refuse(None)
        while True:
            self._news.clear()
            delay_s = None
            try:
                await self._bring_up_to_date(snapshot_id)
            except Exception as error:  # noqa: BLE001  # no file, whoever wrote it, may end all consumers; it is logged
                raise_if_cancelled()
                self._refuse(_refusal(snapshot_id or "", error))
                delay_s = backoff.next_delay_s()
                if isinstance(error, UnavailableError):
                    delay_s = min(delay_s, _SERVER_AWAY_S)
            else:
                self._refuse(None)
                backoff.reset()
                if self.served is not None and self.served.delta < self._newest_delta:
                    delay_s = _INCOMPLETE_S
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._news.wait()

    async def _bring_up_to_date(self, snapshot_id: str | None) -> None:
        if snapshot_id is None:
            self._swap(None, time.monotonic())
        elif self.served is None or self.served.manifest.id != snapshot_id:
            await self._open(snapshot_id)
        if self.served is not None and self.served.delta < self._newest_delta:
            started_s = time.monotonic()
            self._swap(await self._opener.update(self.served), started_s)

    async def _open(self, snapshot_id: str) -> None:
        started_s = time.monotonic()
        self._swap(await self._opener.open(snapshot_id), started_s)

    def _swap(self, new: Served, started_s: float) -> None:
        raise_if_cancelled()
        took_s = time.monotonic() - started_s
        old, self.served = self.served, new
        if new is old:
            return
        log.info(
            "snapshot_served", name=self._name, old=old.manifest.id if old else None,
            new=new.manifest.id if new else None, seconds=round(took_s, 3), **_figures(new),
        )  # fmt: skip
        self._listener.swapped(self._name, old, new, took_s)

    def _refuse(self, refusal: Refusal | None) -> None:
        if refusal == self.refusal:
            return
        self.refusal = refusal
        if refusal is not None:
            log.warning(
                "snapshot_refused", name=self._name, snapshot=refusal.snapshot, reason=refusal.reason,
                hint=refusal.hint, served=self.served.manifest.id if self.served else None,
                exc_info=refusal.hint == _BUG_HINT,
            )  # fmt: skip
        self._listener.refused(self._name, refusal)


def _figures(served: Served) -> dict[str, float]:
    if served is None:
        return {}
    thresholds = served.matcher.thresholds
    return {
        "delta": served.delta,
        "rows": served.manifest.rows,
        "match_threshold": thresholds.match,
        "margin_threshold": thresholds.margin,
    }


def _refusal(snapshot_id: str, error: Exception) -> Refusal:
    if isinstance(error, FramematchError):
        return Refusal(snapshot_id, error.message, error.hint)
    what, hint = f"{type(error).__name__}, see the log", _BUG_HINT
    if isinstance(error, MemoryError):
        what, hint = "not enough memory", "Give the process more memory, or build a smaller index"
    elif isinstance(error, OSError):
        what, hint = error.strerror or what, "Check disk and rights"
    return Refusal(snapshot_id, f"snapshot {snapshot_id} cannot be opened: {what}", hint)
