"""The interface between the pipeline and a delivery; `AtLeastOnce` and `ExactlyOnce` implement it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka import TopicPartition

from consumers.delivery.output_partitions import OutputPartitions
from consumers.delivery.record_encoder import RecordEncoder
from consumers.in_flight_frame import InFlightFrame
from consumers.metrics import ConsumerMetrics
from consumers.stages.results import FrameResult
from framematch.core.health import Health
from framematch.core.kafka.protocols import OffsetStore
from framematch.core.settings import ConsumerSettings, KafkaSettings


@dataclass(frozen=True)
class DeliveryContext:
    """What both deliveries need; `offset_store` is our consumer group's, `partitions` says where output goes.

    `on_delivered` is called once for each result whose output was acknowledged, or committed in a transaction.
    """

    offset_store: OffsetStore
    encoder: RecordEncoder
    partitions: OutputPartitions
    on_delivered: Callable[[FrameResult], None]
    kafka: KafkaSettings
    settings: ConsumerSettings
    metrics: ConsumerMetrics
    health: Health


class Delivery(Protocol):
    """Publishes results in the order of `deliver`, and commits an offset after its output.

    Guarantee: an offset is committed only when every frame of its partition below it was delivered, however long Kafka
    is unreachable meanwhile.
    """

    async def run(self) -> None:
        """Publish and commit until cancelled.

        Raises:
            KafkaUnavailableError: no broker answers at the start.
        """

    async def on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Take these partitions over; called before their committed offsets are read and a frame is fetched.

        With transactions this fences a former owner that still runs.
        """

    def fetched(self, frame: InFlightFrame) -> None:
        """Register a fetched frame; called in the order of its partition."""

    def reached(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Everything below these offsets was `fetched`, or has no record, as the end of a transaction."""

    async def deliver(self, results: Sequence[FrameResult]) -> None:
        """Publish these results. Those of a partition that is not assigned to us are ignored."""

    def finish(self) -> None:
        """No more frames will be fetched before the partitions are revoked: publish those in flight without delay."""

    async def commit(self) -> None:
        """Commit now what was delivered."""

    async def wait_fenced(self) -> None:
        """Return once another consumer owns one of our partitions, so that its frames cannot be finished here."""

    async def on_revoked(self) -> None:
        """Give all partitions back and forget what is not committed."""
