"""Asks Kafka regularly whether our topics exist, are still the same, and have the partitions that they should have."""

import asyncio
from collections.abc import Mapping

import structlog
from aiokafka.errors import KafkaError

from framematch.core.health import Health
from framematch.core.kafka.protocols import TopicConsumer
from framematch.core.kafka.topic_descriptions import TopicDescription
from framematch.core.kafka.topics import PARTITIONS_HINT, Topics, differing_partitions

log = structlog.get_logger()

_TIMEOUT_S = 3.0
_MISSING = "the topic {} does not exist, or we may not see it"
_HINT = "Create it: framematch topics create, or restart a service"


class TopicWatch:
    """What Kafka last said about the topics of a consumer; a missing one makes the consumer not ready."""

    def __init__(self, consumer: TopicConsumer, topics: Topics, health: Health) -> None:
        self._consumer = consumer
        self._parts = {
            topics.frames: "kafka",
            topics.matches: "output",
            topics.sightings: "output",
            topics.deadletter: "output",
        }
        self._topics = topics
        self._health = health
        self._differing = ""
        self._missing: frozenset[str] = frozenset()
        self.known: Mapping[str, TopicDescription] = {}
        """The topics that exist; empty before the first answer."""

    async def refresh(self) -> None:
        """Ask once. While Kafka does not answer, what it said last stays."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                found = await self._consumer.describe(*self._parts)
        except (TimeoutError, KafkaError):
            return  # `EndOffsets` reports it
        if self.known and found != self.known:
            self._consumer.refresh_metadata()  # so that the group rebalances soon
        self.known = found
        self._report_missing(frozenset(self._parts) - found.keys())
        counts = {name: one.partitions for name, one in found.items()}
        self._report_differing(differing_partitions(self._topics, counts))

    async def partitions(self) -> dict[str, int]:
        """Ask how many partitions each topic has; those that do not exist are absent."""
        await self.refresh()
        return {name: one.partitions for name, one in self.known.items()}

    @property
    def frames(self) -> TopicDescription | None:
        """The topic of frames; None when it does not exist, or nothing is known yet."""
        return self.known.get(self._topics.frames)

    def _report_missing(self, missing: frozenset[str]) -> None:
        for topic in missing - self._missing:
            log.warning("topic_missing", topic=topic, hint=_HINT)
            self._health.set_not_ready(self._parts[topic], _MISSING.format(topic), source=topic)
        for topic in self._missing - missing:
            log.info("topic_found", topic=topic)
            self._health.set_ready(self._parts[topic], source=topic)
        self._missing = missing

    def _report_differing(self, differing: str) -> None:
        if differing and differing != self._differing:
            log.warning("partitions_differ", topics=differing, hint=PARTITIONS_HINT)
        self._differing = differing
