"""Tells operators how each camera is doing: on every change of its source, and regularly."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import structlog
from aiokafka.errors import KafkaError

from edge.meter import CameraMeter, Reading
from edge.outbox.producer import Acknowledgement, RecordProducer
from framematch.core.errors import KafkaUnavailableError
from framematch.core.events import STATUS_SCHEMA, CameraState, CameraStatus, encode, event_headers
from framematch.core.kafka.records import ProducerRecord
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.core.units import US_PER_MS

log = structlog.get_logger()

_LAGGING_S = 2.0  # a stream's own buffers explain less


def status_of(
    camera: str,
    before: Reading,
    now: Reading,
    at_us: int,
    *,
    previous: CameraStatus | None = None,
    interval_s: float | None = None,
    settings_error: str | None = None,
) -> CameraStatus:
    """The status at `at_us`, with rates over the time between two readings, or one second when that is longer.

    `previous` is the status before, for the time since when the state holds; `interval_s` is when the next one comes.
    """
    # Two statuses may follow each other within milliseconds: one frame then is no rate of hundreds.
    elapsed_s = max(now.at_s - before.at_s, 1.0)
    troubles = _troubles(before, now)
    state: CameraState = "offline" if now.closed_because else "degraded" if troubles else "online"
    at = to_rfc3339(at_us)
    is_open = state != "offline"
    return CameraStatus(
        schema="camera-status.v1",
        camera=camera,
        state=state,
        reason=now.closed_because or "; ".join(troubles) or None,
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
        reconnects=now.reconnects,
        settings_error=settings_error,
    )


def _troubles(before: Reading, now: Reading) -> list[str]:
    """Why a camera whose source is open is degraded, in an operator's words; empty when it is not."""
    new_drops = {reason: count - before.drops.get(reason, 0) for reason, count in now.drops.items()}
    lost = [f"{count} {reason}" for reason, count in sorted(new_drops.items()) if count > 0]
    troubles = [f"frames dropped: {', '.join(lost)}"] if lost else []
    if now.spooled_frames:
        troubles.append(f"{now.spooled_frames} frames wait on disk for Kafka")
    if now.lag_s > _LAGGING_S:
        troubles.append(f"the stream is {now.lag_s:.1f} s behind its own clock")
    return troubles


@dataclass(eq=False)
class _Line:
    """One camera: what was last told of it, and what is still to be told."""

    meter: CameraMeter
    reading: Reading
    told: CameraStatus | None = None
    due: bool = True
    on_its_way: Acknowledgement | None = None
    gone: bool = False


class StatusReporter:
    """Sends the status of cameras to the topic `.status`; for the event loop alone.

    Each camera has one record on its way at most: while Kafka takes none, nothing piles up, and what comes after is the
    newest status. `changed` is to be set when the source of a camera opens or closes. Changes that follow each other at
    once may become one status.
    """

    def __init__(
        self,
        producer: RecordProducer,
        topic: str,
        meters: Iterable[CameraMeter],
        changed: asyncio.Event,
        interval_s: float,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._changed = changed
        self._interval_s = interval_s
        self._settings_error: str | None = None
        self._lines = {meter.camera: _Line(meter, meter.read()) for meter in meters}

    def add(self, meter: CameraMeter) -> None:
        """Report a camera from now on. One of the same name that was there, or was just removed, is replaced."""
        old = self._lines.get(meter.camera)
        self._lines[meter.camera] = _Line(meter, meter.read(), on_its_way=old.on_its_way if old else None)
        self._changed.set()

    def remove(self, camera: str) -> None:
        """Report a camera no longer: a tombstone takes its status out of the topic."""
        line = self._lines[camera]
        line.gone = line.due = True
        self._changed.set()

    def settings_refused(self, why: str | None) -> None:
        """Say in every status that changed settings are not in force and why; None when they are again."""
        if why != self._settings_error:
            self._settings_error = why
            self._all_due()
            self._changed.set()

    async def run(self) -> None:
        """Send the status of all now and every interval, and of those whose source changed at once; endless."""
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            if loop.time() >= next_s:
                next_s = loop.time() + self._interval_s
                self._all_due()
            await self._send_due()
            try:
                async with asyncio.timeout_at(next_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
            self._changed.clear()
            for line in self._lines.values():
                if line.meter.read().closed_because != line.reading.closed_because:
                    line.due = True

    async def report_all(self, deadline_s: float = 2.0) -> None:
        """Send a last status of every camera, once `run` has ended, and wait until Kafka has them or the deadline."""
        self._all_due()
        try:
            async with asyncio.timeout(deadline_s):
                while waiting := self._unfinished():
                    await self._send_due()
                    if on_their_way := [line.on_its_way for line in waiting if line.on_its_way is not None]:
                        await asyncio.wait(on_their_way)
        except TimeoutError:
            log.warning("last_status_not_sent", cameras=[line.meter.camera for line in self._unfinished()])

    def _all_due(self) -> None:
        for line in self._lines.values():
            line.due = True

    def _unfinished(self) -> list[_Line]:
        return [line for line in self._lines.values() if line.due or line.on_its_way is not None]

    async def _send_due(self) -> None:
        for line in list(self._lines.values()):
            if line.due and line.on_its_way is None:
                await self._send(line)

    async def _send(self, line: _Line) -> None:
        camera, at_us = line.meter.camera, now_us()
        headers = event_headers(f"{camera}-status-{at_us}", STATUS_SCHEMA, camera, to_rfc3339(at_us))
        value = None if line.gone else encode(self._next_status(line, at_us))
        record = ProducerRecord(self._topic, camera.encode(), value, headers, at_us // US_PER_MS)
        line.due = False
        try:
            line.on_its_way = await self._producer.send(record)
        except (KafkaError, KafkaUnavailableError) as error:
            _log_failure(camera, error)
        else:
            line.on_its_way.add_done_callback(partial(self._settle, line, value is None))

    def _next_status(self, line: _Line, at_us: int) -> CameraStatus:
        now = line.meter.read()
        line.told = status_of(
            line.meter.camera,
            line.reading,
            now,
            at_us,
            previous=line.told,
            interval_s=self._interval_s,
            settings_error=self._settings_error,
        )
        line.reading = now
        return line.told

    def _settle(self, sent: _Line, was_tombstone: bool, done: Acknowledgement) -> None:
        camera = sent.meter.camera
        line = self._lines.get(camera, sent)  # it may have been replaced meanwhile
        if line.on_its_way is done:
            line.on_its_way = None
        if not done.cancelled() and (error := done.exception()) is not None:
            _log_failure(camera, error)
        elif was_tombstone and line is sent and not done.cancelled():
            del self._lines[camera]
        if line.due:
            self._changed.set()


def _log_failure(camera: str, error: BaseException) -> None:
    log.warning("status_not_sent", camera=camera, error=f"{type(error).__name__}: {error}")
