"""Tells operators how each camera is doing: on every change of its source, and regularly."""

import asyncio
from collections.abc import Iterable

import structlog
from aiokafka.errors import KafkaError

from edge.meter import CameraMeter, Reading
from edge.outbox.publish import Producer
from framematch.core.errors import KafkaUnavailableError
from framematch.core.events import STATUS_SCHEMA, CameraState, CameraStatus, encode, event_headers
from framematch.core.timestamps import now_us, to_rfc3339

log = structlog.get_logger()


def status_of(camera: str, before: Reading, now: Reading, at_us: int) -> CameraStatus:
    """The status at `at_us`, with rates over the time between two readings, or one second when that is longer.

    offline: the source is not open. degraded: it is, but frames were dropped since `before`. online: neither.
    """
    new_drops = {reason: count - before.drops.get(reason, 0) for reason, count in now.drops.items()}
    lossy = sorted(reason for reason, count in new_drops.items() if count)
    state: CameraState = "offline" if now.closed_because else "degraded" if lossy else "online"
    # Two statuses may follow each other within milliseconds: one frame then is no rate of hundreds.
    elapsed_s = max(now.at_s - before.at_s, 1.0)
    return CameraStatus(
        schema="camera-status.v1",
        camera=camera,
        state=state,
        reason=now.closed_because or (f"dropped: {', '.join(lossy)}" if lossy else None),
        at=to_rfc3339(at_us),
        source_fps=round((now.source_frames - before.source_frames) / elapsed_s, 2),
        sent_fps=round((now.published - before.published) / elapsed_s, 2),
        drops=now.drops,
        last_frame_age_s=None if now.last_frame_at_s is None else round(max(0.0, now.at_s - now.last_frame_at_s), 3),
        reconnects=now.reconnects,
    )


class StatusReporter:
    """Sends the status of cameras to the topic `.status`.

    `changed` is to be set when the source of a camera opens or closes. Changes that follow each other at once may
    become one status.
    """

    def __init__(
        self,
        producer: Producer,
        topic: str,
        meters: Iterable[CameraMeter],
        changed: asyncio.Event,
        interval_s: float,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._changed = changed
        self._interval_s = interval_s
        self._sent = {meter: meter.read() for meter in meters}

    async def run(self) -> None:
        """Send the status of all now and every `interval_s`, and of those whose source changed at once; endless."""
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            if loop.time() >= next_s:
                next_s = loop.time() + self._interval_s
                await self.report_all()
            try:
                async with asyncio.timeout_at(next_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
            self._changed.clear()
            for meter, sent in self._sent.items():
                if meter.read().closed_because != sent.closed_because:
                    await self._report(meter)

    async def report_all(self) -> None:
        """Send the status of every camera."""
        for meter in self._sent:
            await self._report(meter)

    async def _report(self, meter: CameraMeter) -> None:
        now, at_us = meter.read(), now_us()
        status = status_of(meter.camera, self._sent[meter], now, at_us)
        record = {
            "key": meter.camera.encode(),
            "value": encode(status),
            "headers": event_headers(f"{meter.camera}-status-{at_us}", STATUS_SCHEMA, meter.camera, status.at),
            "timestamp_ms": at_us // 1_000,
        }
        self._sent[meter] = now
        try:
            await self._producer.send(self._topic, record)
        except (KafkaError, KafkaUnavailableError) as error:
            log.warning("status_not_sent", camera=meter.camera, error=f"{type(error).__name__}: {error}")
