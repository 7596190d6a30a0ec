"""Ends a consumer that has stalled: nothing moves though there is work and every server answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from framematch.core.errors import KafkaUnavailableError, StalledError
from framematch.core.health import Health
from framematch.core.kafka.clients import kafka_errors, new_consumer, started
from framematch.core.kafka.offsets import offset_ranges
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings

log = structlog.get_logger()

_CHECKS = 8  # in each timeout
_PROBE_TIMEOUT_S = 10.0

Positions = Mapping[TopicPartition, int]
"""The next offset to read of each partition."""


@dataclass(frozen=True)
class Progress:
    """Frames fetched and delivered since the start, frames in flight now, and the next offset of each partition.

    `positions` is None while the group rebalances.
    """

    fetched: int
    delivered: int
    in_flight: int
    positions: Positions | None


class Watchdog:
    """Compares the consumer's progress with the topic as a newly connected client sees it.

    Kafka clients have been seen to stop fetching without an error, for instance after the broker has forgotten their
    session; only a new process helps then. Waiting for a server that is unavailable is not a stall. A frame that has
    just arrived after a time without frames is none either: two checks in a row must find work.

    Args:
        timeout_s: how long nothing may move.
        health: says whether Triton and the output work.
        unread: counts the frames from these positions on, as `Probe.unread`.
    """

    def __init__(
        self, timeout_s: float, health: Health, unread: Callable[[Positions | None], Awaitable[int | None]]
    ) -> None:
        self._timeout_s = timeout_s
        self._health = health
        self._unread = unread

    async def run(self, progress: Callable[[], Progress]) -> None:
        """Watch until cancelled.

        Raises:
            StalledError: nothing has moved for the timeout, there is work, and every server answers.
        """
        last, since_s, suspected = progress(), time.monotonic(), False
        while True:
            await asyncio.sleep(self._timeout_s / _CHECKS)
            now = progress()
            moved = (now.fetched, now.delivered) != (last.fetched, last.delivered)
            if moved or not self._health.works("triton", "output"):
                last, since_s, suspected = now, time.monotonic(), False
            elif time.monotonic() - since_s >= self._timeout_s:
                unread = await self._unread(now.positions)
                if unread is None or unread + now.in_flight == 0:  # from here on it has the full timeout again
                    last, since_s, suspected = now, time.monotonic(), False
                elif suspected:
                    raise StalledError(
                        f"nothing has moved for {self._timeout_s:g} s though Kafka and Triton answer: "
                        f"{unread} frames to be fetched, {now.in_flight} in flight",
                        hint="Restart it, as a supervisor does; consumer.stall_timeout_s sets the time",
                    )
                else:
                    suspected = True


class Probe:
    """Reads offsets of the frames topic through a client of its own, newly connected each time."""

    def __init__(self, kafka: KafkaSettings, group_id: str) -> None:
        self._kafka = kafka
        self._group_id = group_id

    async def unread(self, positions: Positions | None) -> int | None:
        """Frames from these positions on, by default from the group's commits; None when Kafka does not answer."""
        # What is behind an open transaction cannot be fetched: waiting for it is no stall.
        reader = new_consumer(self._kafka, group_id=self._group_id, isolation_level="read_committed")
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S), started(reader, self._kafka):
                with kafka_errors(self._kafka):
                    if positions is None:
                        positions = await self._committed(reader)
                    ranges = await offset_ranges(reader, positions.keys())
        except (KafkaUnavailableError, TimeoutError) as error:
            log.info("stall_not_judged", reason=str(error) or "Kafka does not answer in time")
            return None
        return sum(
            max(0, available.stop - max(available.start, positions[partition]))
            for partition, available in ranges.items()
        )

    async def _committed(self, reader: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        topic = Topics(self._kafka.topic_prefix).frames
        await reader.topics()  # loads the metadata
        partitions = [TopicPartition(topic, number) for number in reader.partitions_for_topic(topic) or ()]
        return {partition: await reader.committed(partition) or 0 for partition in partitions}
