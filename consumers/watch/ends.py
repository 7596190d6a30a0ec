"""Asks Kafka again and again how far our partitions reach: so we know how far behind we are, and that it answers."""

import asyncio
from collections.abc import Collection, Mapping

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.metrics import ConsumerMetrics

log = structlog.get_logger()

_ANSWER_S = 3.0  # for the answer; one behind a fetch that waits for new frames takes half a second


class Ends:
    """Where each partition ends, as Kafka last said. A fetch alone would not tell: a client repeats it in silence."""

    def __init__(self, consumer: AIOKafkaConsumer, metrics: ConsumerMetrics) -> None:
        self._consumer = consumer
        self._metrics = metrics
        self.known: Mapping[TopicPartition, int] = {}
        """Empty while Kafka does not answer."""
        self.kafka_is_away = False
        """Whether the last question had no answer."""

    async def ask(self, partitions: Collection[TopicPartition]) -> None:
        """Ask once; without partitions there is nobody to ask."""
        if not partitions:
            return
        try:
            async with asyncio.timeout(_ANSWER_S):
                self.known = await self._consumer.end_offsets(partitions)
        except (TimeoutError, KafkaError) as error:
            self._missed(repr(error) if isinstance(error, KafkaError) else f"no answer within {_ANSWER_S:g} s")
        else:
            self._answered()

    def _missed(self, why: str) -> None:
        self.known = {}
        if not self.kafka_is_away:
            self.kafka_is_away = True
            self._metrics.kafka_outages.inc()
            log.warning("kafka_unavailable", error=why)

    def _answered(self) -> None:
        if self.kafka_is_away:
            self.kafka_is_away = False
            log.info("kafka_available")
