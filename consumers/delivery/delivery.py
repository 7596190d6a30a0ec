"""What the pipeline asks of a delivery; `at_least_once.py` and `exactly_once.py` are the two there are."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumers.delivery.outputs import Outputs
from consumers.in_flight_frame import InFlightFrame
from consumers.metrics import ConsumerMetrics
from consumers.stages.results import FrameResult
from framematch.core.health import Health
from framematch.core.settings import ConsumerSettings, KafkaSettings


@dataclass(frozen=True)
class DeliveryContext:
    """What either delivery needs: the member of the group whose offsets are committed, and whom to tell what.

    `on_delivered` is called once for each answer whose output is acknowledged, or committed in a transaction.
    """

    consumer: AIOKafkaConsumer
    outputs: Outputs
    on_delivered: Callable[[FrameResult], None]
    kafka: KafkaSettings
    settings: ConsumerSettings
    metrics: ConsumerMetrics
    health: Health


class Delivery(Protocol):
    """Publishes answers in the order of `deliver`, and commits no offset before its output is safe.

    Guarantee: an offset is committed only when every frame of its partition below it was delivered. Kafka may be away
    meanwhile for as long as it likes.
    """

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            KafkaUnavailableError: no broker answers at the start.
        """

    async def on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """These partitions are ours now: called before their committed offsets are read and a frame is fetched.

        Where the delivery can do that, a zombie that still works on one of them is fenced.
        """

    def fetched(self, frame: InFlightFrame) -> None:
        """A frame was fetched; called in the order of its partition."""

    async def deliver(self, answers: Sequence[FrameResult]) -> None:
        """Take these over. Answers of a partition that is not open are left to its owner."""

    async def commit(self) -> None:
        """Commit now what was delivered."""

    async def wait_fenced(self) -> None:
        """Return once another consumer has one of our partitions, so that what is in flight cannot be finished."""

    async def on_revoked(self) -> None:
        """All partitions are given back: what is not committed is forgotten."""
