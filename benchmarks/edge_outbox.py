"""The edge's way from an encoded frame to Kafka, as the service sets it up, without cameras."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from edge.meter import CameraMeter
from edge.metrics import EdgeMetrics
from edge.outbox.producer import RenewableProducer
from edge.outbox.publish import Publisher
from edge.outgoing import Outgoing
from framematch.core.errors import FramematchError
from framematch.core.settings import Settings
from framematch.core.topics import Topics

_ACKNOWLEDGED_S = 60.0
_POLL_S = 0.001


class OpenOutbox:
    """Takes frames of all cameras, and knows how many Kafka has acknowledged."""

    def __init__(self, publisher: Publisher, meters: dict[str, CameraMeter]) -> None:
        self._publisher = publisher
        self._meters = meters

    async def put(self, outgoing: Outgoing) -> None:
        """Send a frame as the service does; waits while too many are on their way."""
        meter = self._meters[outgoing.frame.camera]
        await self._publisher.publish(outgoing.frame, outgoing.jpeg, outgoing.grabbed_s, meter)

    async def acknowledged(self, frames: int) -> None:
        """Return when `frames` frames have been acknowledged since the start.

        Raises:
            FramematchError: some were given up, or it took longer than a minute.
        """
        deadline_s = asyncio.get_running_loop().time() + _ACKNOWLEDGED_S
        while (published := sum(meter.read().published for meter in self._meters.values())) < frames:
            if any(meter.read().drops for meter in self._meters.values()):
                raise FramematchError("the edge gave frames up")
            if asyncio.get_running_loop().time() > deadline_s:
                raise FramematchError(f"{published} of {frames} frames were acknowledged in {_ACKNOWLEDGED_S:g} s")
            await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def open_outbox(settings: Settings, cameras: Sequence[str]) -> AsyncIterator[OpenOutbox]:
    """Connected, with the settings' limits.

    Raises:
        KafkaUnavailableError: no broker answers.
    """
    metrics = EdgeMetrics(CollectorRegistry())
    meters = {camera: CameraMeter(camera, metrics, lambda: None) for camera in cameras}
    async with RenewableProducer(settings.kafka) as producer:
        publisher = Publisher(
            producer,
            Topics(settings.kafka.topic_prefix).frames,
            unacknowledged_max=settings.edge.unacknowledged_max,
            max_message_bytes=settings.kafka.max_message_bytes,
        )
        yield OpenOutbox(publisher, meters)
