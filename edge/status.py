"""Reports the status of each camera to operators: whenever its source opens or closes, and regularly."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog
from aiokafka.errors import KafkaError

from edge.outbox.producer import Acknowledgement, RecordProducer
from edge.snapshot import StatsSnapshot
from edge.stats import CameraStats
from edge.wanted import Wanted
from framematch.core.cloud_events import event_headers
from framematch.core.errors import KafkaUnavailableError
from framematch.core.events import STATUS_SCHEMA, CameraState, CameraStatus, RefusedSettings, encode
from framematch.core.kafka.records import ProducerRecord
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.core.units import US_PER_MS

log = structlog.get_logger()

_LAGGING_S = 2.0  # more than the buffers of a stream explain


class ReportedCameras(Protocol):
    """What a `CameraManager` says of its cameras. `changed` is set when one is added or removed, opens or closes."""

    changed: asyncio.Event

    @property
    def stats(self) -> Mapping[str, CameraStats]:
        """The statistics of all cameras that are configured, by id."""


def status_of(
    camera: str,
    before: StatsSnapshot,
    now: StatsSnapshot,
    at_us: int,
    *,
    previous: CameraStatus | None = None,
    interval_s: float | None = None,
    settings_error: str | None = None,
    edge: str | None = None,
    generation: int | None = None,
    refused: RefusedSettings | None = None,
) -> CameraStatus:
    """The status at `at_us`, with rates over the time between two snapshots, but over one second at least.

    `previous` is the last status: `since` is kept while the state is the same. The next one follows in `interval_s`.
    The other values are passed on.
    """
    # Two statuses may follow each other within milliseconds: one frame must not become a rate of hundreds.
    elapsed_s = max(now.at_s - before.at_s, 1.0)
    problems = _problems(before, now)
    state: CameraState = "offline" if now.closed_because else "degraded" if problems else "online"
    at = to_rfc3339(at_us)
    is_open = state != "offline"
    return CameraStatus(
        schema="camera-status.v1",
        camera=camera,
        state=state,
        reason=now.closed_because or "; ".join(problems) or None,
        at=at,
        since=previous.since if previous is not None and previous.state == state else at,
        interval_s=interval_s,
        source_fps=round((now.source_frames - before.source_frames) / elapsed_s, 2),
        captured_fps=round((now.captured - before.captured) / elapsed_s, 2),
        still_fps=round((now.still - before.still) / elapsed_s, 2),
        sent_fps=round((now.published - before.published) / elapsed_s, 2),
        drops=now.drops,
        spooled_frames=now.spooled_frames,
        spooled_bytes=now.spooled_bytes,
        last_frame_age_s=None if now.last_frame_at_s is None else round(max(0.0, now.at_s - now.last_frame_at_s), 3),
        lag_s=round(max(0.0, now.lag_s), 3) if is_open else None,
        clock=now.clock,
        resolution=now.resolution,
        decoder=now.decoder,
        decoder_reason=now.decoder_reason,
        reconnects=now.reconnects,
        settings_error=settings_error,
        edge=edge,
        generation=generation,
        refused=refused,
    )


def _problems(before: StatsSnapshot, now: StatsSnapshot) -> list[str]:
    """Why a camera whose source is open is degraded, for operators; empty when it is not."""
    new_drops = {reason: count - before.drops.get(reason, 0) for reason, count in now.drops.items()}
    lost = [f"{count} {reason}" for reason, count in sorted(new_drops.items()) if count > 0]
    problems = [f"frames dropped: {', '.join(lost)}"] if lost else []
    if now.spooled_frames:
        problems.append(f"{now.spooled_frames} frames wait on disk for Kafka")
    if now.lag_s > _LAGGING_S:
        problems.append(f"the stream is {now.lag_s:.1f} s behind its own clock")
    return problems


class Reported(Protocol):
    """What a status is made of: a `CameraStats`, or a camera that is refused."""

    def snapshot(self) -> StatsSnapshot:
        """All values at this moment."""


@dataclass(frozen=True)
class RefusedCamera:
    """A wanted camera that does not run, because its settings are refused."""

    reason: str

    def snapshot(self) -> StatsSnapshot:
        """It never had a frame."""
        return StatsSnapshot(at_s=time.monotonic(), closed_because=f"refused: {self.reason}")


@dataclass(eq=False)
class StatusEntry:
    """One camera: its last snapshot and status, whether another status is due, and the record that is in flight."""

    camera: str
    stats: Reported
    last_snapshot: StatsSnapshot
    last_sent: CameraStatus | None = None
    pending: bool = True
    in_flight: Acknowledgement | None = None
    removed: bool = False


class StatusReporter:
    """Sends the status of cameras to the topic `.status`; for the event loop alone.

    Each camera has one record in flight at most: while Kafka takes none, nothing piles up, and the next record is the
    newest status. Changes in quick succession may become one status. A camera that is removed gets a tombstone, which
    deletes its status from the topic.
    """

    def __init__(
        self,
        producer: RecordProducer,
        topic: str,
        cameras: ReportedCameras,
        interval_s: float,
        *,
        edge: str | None = None,
    ) -> None:
        """`edge` is the name of this edge."""
        self._edge = edge
        self._wanted = Wanted()
        self._refused: dict[str, RefusedCamera] = {}
        self._producer = producer
        self._topic = topic
        self._cameras = cameras
        self._interval_s = interval_s
        self._settings_error: str | None = None
        self._entries: dict[str, StatusEntry] = {}

    def set_settings_error(self, reason: str | None) -> None:
        """Show in every status why changed settings were refused; None when they are in force."""
        if reason != self._settings_error:
            self._settings_error = reason
            self._mark_all_pending()
            self._cameras.changed.set()

    def set_wanted(self, wanted: Wanted) -> None:
        """Show which generations of wanted settings are in force, and which are refused, running or not."""
        if wanted == self._wanted:
            return
        self._wanted = wanted
        self._refused = {camera: RefusedCamera(why.reason) for camera, why in wanted.refused.items()}
        self._mark_all_pending()
        self._cameras.changed.set()

    async def run(self) -> None:
        """Send the status of all cameras now and every interval, and of those that change at once; endless."""
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            if loop.time() >= next_s:
                next_s = loop.time() + self._interval_s
                self._mark_all_pending()
            await self._send_pending()
            try:
                async with asyncio.timeout_at(next_s):
                    await self._cameras.changed.wait()
            except TimeoutError:
                continue
            self._cameras.changed.clear()

    async def report_all(self, deadline_s: float = 2.0) -> None:
        """Send a last status of every camera, once `run` has ended; wait for their acknowledgement or the deadline."""
        self._mark_all_pending()
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    await self._send_pending()
                    if not (unfinished := self._unfinished()):
                        return
                    if in_flight := [entry.in_flight for entry in unfinished if entry.in_flight is not None]:
                        await asyncio.wait(in_flight)
        except TimeoutError:
            log.warning("last_status_not_sent", cameras=[entry.camera for entry in self._unfinished()])

    def _mark_all_pending(self) -> None:
        for entry in self._entries.values():
            entry.pending = True

    def _unfinished(self) -> list[StatusEntry]:
        return [entry for entry in self._entries.values() if entry.pending or entry.in_flight is not None]

    def _update_entries(self) -> None:
        """Follow the cameras: a new one, an opened or closed source, and a removed camera have a record to send."""
        cameras: dict[str, Reported] = {**self._refused, **self._cameras.stats}
        for camera, stats in cameras.items():
            entry = self._entries.get(camera)
            if entry is None or entry.removed or entry.stats != stats:
                in_flight = entry.in_flight if entry else None
                self._entries[camera] = StatusEntry(camera, stats, stats.snapshot(), in_flight=in_flight)
            elif stats.snapshot().closed_because != entry.last_snapshot.closed_because:
                entry.pending = True
        for entry in self._entries.values():
            if entry.camera not in cameras and not entry.removed:
                entry.removed = entry.pending = True

    async def _send_pending(self) -> None:
        self._update_entries()
        for entry in list(self._entries.values()):
            if entry.pending and entry.in_flight is None:
                await self._send(entry)

    async def _send(self, entry: StatusEntry) -> None:
        at_us = now_us()
        headers = event_headers(f"{entry.camera}-status-{at_us}", STATUS_SCHEMA, entry.camera, to_rfc3339(at_us))
        value = None if entry.removed else encode(self._next_status(entry, at_us))
        record = ProducerRecord(self._topic, entry.camera.encode(), value, headers, at_us // US_PER_MS)
        entry.pending = False
        try:
            entry.in_flight = await self._producer.send(record)
        except (KafkaError, KafkaUnavailableError) as error:
            _log_failure(entry.camera, error)
        else:
            entry.in_flight.add_done_callback(partial(self._settle, entry, value is None))

    def _next_status(self, entry: StatusEntry, at_us: int) -> CameraStatus:
        now = entry.stats.snapshot()
        entry.last_sent = status_of(
            entry.camera,
            entry.last_snapshot,
            now,
            at_us,
            previous=entry.last_sent,
            interval_s=self._interval_s,
            settings_error=self._settings_error,
            edge=self._edge,
            generation=self._wanted.generations.get(entry.camera),
            refused=self._wanted.refused.get(entry.camera),
        )
        entry.last_snapshot = now
        return entry.last_sent

    def _settle(self, sent: StatusEntry, was_tombstone: bool, done: Acknowledgement) -> None:
        entry = self._entries.get(sent.camera, sent)  # it may have been replaced meanwhile
        if entry.in_flight is done:
            entry.in_flight = None
        if not done.cancelled() and (error := done.exception()) is not None:
            _log_failure(sent.camera, error)
        elif was_tombstone and entry is sent and not done.cancelled():
            del self._entries[sent.camera]
        if entry.pending:
            self._cameras.changed.set()


def _log_failure(camera: str, error: BaseException) -> None:
    log.warning("status_not_sent", camera=camera, error=f"{type(error).__name__}: {error}")
