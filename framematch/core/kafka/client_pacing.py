"""Makes aiokafka's clients ask for metadata, and connect, at a bounded rate, and never create a topic by asking for it.

aiokafka asks again at once when a topic has no leader, for instance because it was deleted: a thousand requests a
second. It connects to a dead broker ten times a second for each task that needs one. Java's client and librdkafka have
settings for both (`retry.backoff.ms`, `reconnect.backoff.ms`), aiokafka has none.
"""

import asyncio
import logging
import random
import time
from collections.abc import Collection
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import (
    KafkaError,
    NoError,
    NotLeaderForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest

events = structlog.get_logger()
log = logging.getLogger("aiokafka")  # with whose messages these are logged, at a bounded rate

_FETCH_ERROR_PAUSE_S = 0.2
# What aiokafka itself acts on.
_HANDLED = (
    NoError,
    OffsetOutOfRangeError,
    NotLeaderForPartitionError,
    UnknownTopicOrPartitionError,
    TopicAuthorizationFailedError,
)
# The delay doubles while requests, or failures, follow each other closely.
_FIRST_DELAY_S = 0.02
_MAX_DELAY_S = 1.0
_CALM_S = 1.5  # without a request for this long the next one is not delayed
_BOOTSTRAP = ("bootstrap", ConnectionGroup.DEFAULT)


class Pace:
    """The delay before the next of several attempts: none for the first, doubled for each that follows closely."""

    def __init__(self) -> None:
        self._delay_s = 0.0
        self._last_s = -_CALM_S

    def delay_s(self, now_s: float) -> float:
        """How long to wait before an attempt that is due now."""
        return max(0.0, self._last_s + self._delay_s - now_s)

    def attempted(self, now_s: float) -> None:
        """An attempt was made."""
        calm = now_s - self._last_s - self._delay_s >= _CALM_S
        self._delay_s = _FIRST_DELAY_S if calm else min(self._delay_s * 2, _MAX_DELAY_S)
        self._last_s = now_s


class PacedClient(AIOKafkaClient):  # type: ignore[misc]  # aiokafka publishes no types
    """aiokafka's client with a bounded rate of metadata requests, and of connections to each broker that failed."""

    _metadata_pace: Pace
    _connection_paces: dict[object, Pace]
    fetch_errors: dict[TopicPartition, str]
    """The partitions that their broker cannot read, and the error that it answers."""

    async def send(self, node_id: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        """As in aiokafka, which repeats a fetch at once, and without end, when the broker cannot read a partition."""
        response = await super().send(node_id, request, group=group)
        if isinstance(request, FetchRequest) and self._note_fetch_errors(response):
            await asyncio.sleep(_FETCH_ERROR_PAUSE_S)
        return response

    def _note_fetch_errors(self, response: Any) -> bool:
        """Log each error once, until the partition can be read again; returns whether there is any."""
        failed = False
        for topic, partitions in response.topics:
            for number, code, *_ in partitions:
                partition, error = TopicPartition(topic, number), for_code(code)
                if error in _HANDLED:
                    self.fetch_errors.pop(partition, None)
                    continue
                failed = True
                if self.fetch_errors.get(partition) != error.__name__:
                    self.fetch_errors[partition] = error.__name__
                    events.error(
                        "partition_unreadable",
                        topic=topic,
                        partition=number,
                        error=error.__name__,
                        hint="See the broker's log. It is tried again; other partitions are read",
                    )
        return failed

    async def _metadata_update(self, cluster_metadata: Any, topics: Collection[str] | None) -> bool:
        """As in aiokafka, which lets the broker create a topic that is asked for, with its default partitions."""
        await asyncio.sleep(self._metadata_pace.delay_s(time.monotonic()))
        self._metadata_pace.attempted(time.monotonic())
        request = MetadataRequest(list(topics) if topics else None, allow_auto_topic_creation=False)
        nodes = [broker.nodeId for broker in self.cluster.brokers()]
        nodes += ["bootstrap"] if _BOOTSTRAP in self._conns else []
        for node in random.sample(nodes, len(nodes)):
            if (connection := await self._get_conn(node)) is None:
                continue
            try:
                metadata = await connection.send(request)
            except (KafkaError, TimeoutError) as error:
                log.warning("Unable to request metadata from node with id %s: %r", node, error)
                continue
            if not metadata.brokers:
                return False
            cluster_metadata.update_metadata(metadata)
            if _BOOTSTRAP in self._conns:
                self._conns.pop(_BOOTSTRAP).close()
            return True
        cluster_metadata.failed_update(None)
        return False

    async def _get_conn(self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False) -> Any:
        """As in aiokafka; None at once while a broker to which the connection just failed is left alone."""
        known = self._conns.get((node_id, group))
        pace = self._connection_paces.get(node_id)
        if pace is not None and not (known and known.connected()) and pace.delay_s(time.monotonic()):
            return None
        connection = await super()._get_conn(node_id, group=group, no_hint=no_hint)
        if connection is None:
            self._connection_paces.setdefault(node_id, Pace()).attempted(time.monotonic())
        else:
            self._connection_paces.pop(node_id, None)
        return connection


def pace(client: AIOKafkaClient) -> None:
    """Bound the rate of the client inside an aiokafka producer, consumer or admin client, which takes none of ours."""
    client.__class__ = PacedClient
    client._metadata_pace = Pace()  # noqa: SLF001  # an attribute of our own class
    client.fetch_errors = {}
    client._connection_paces = {}  # noqa: SLF001  # the same
