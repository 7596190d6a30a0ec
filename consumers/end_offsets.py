"""Asks Kafka regularly where our partitions end: this is the lag, and shows whether Kafka answers."""

import asyncio
from collections.abc import Collection, Mapping

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from consumers.metrics import ConsumerMetrics
from framematch.core.kafka.protocols import GroupConsumer

log = structlog.get_logger()

_TIMEOUT_S = 3.0  # an answer behind a fetch that waits for new frames takes half a second


class EndOffsets:
    """The end of each partition as Kafka last reported it. A fetch would not show an outage: the client retries it."""

    def __init__(self, consumer: GroupConsumer, metrics: ConsumerMetrics) -> None:
        self._consumer = consumer
        self._metrics = metrics
        self.known: Mapping[TopicPartition, int] = {}
        """Empty while Kafka does not answer."""
        self.kafka_unreachable = False
        """Whether the last request failed."""

    async def refresh(self, partitions: Collection[TopicPartition]) -> None:
        """Ask once; does nothing without partitions."""
        if not partitions:
            return
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                self.known = await self._consumer.end_offsets(partitions)
        except (TimeoutError, KafkaError) as error:
            self.known = {}
            if not self.kafka_unreachable:
                self._metrics.kafka_outages.inc()
                reason = repr(error) if isinstance(error, KafkaError) else f"no answer within {_TIMEOUT_S:g} s"
                log.warning("kafka_unavailable", error=reason)
            self.kafka_unreachable = True
        else:
            if self.kafka_unreachable:
                log.info("kafka_available")
            self.kafka_unreachable = False
