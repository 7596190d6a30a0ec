"""The one writer of wanted cameras, however many processes of the API there are: Kafka decides who it is.

All processes share one transactional id. Who starts a producer with it fences the former one and aborts what that has
not committed. Who then has read the topic to its end knows the newest record of a camera, and commits the next one only
if nobody has started a producer in between. So a change is made to the record that it was checked against, or not made.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from aiokafka.errors import IllegalOperation, InvalidProducerEpoch, KafkaError, ProducerFenced

from framematch.core.backoff import Backoff
from framematch.core.camera_settings import SETTINGS_SCHEMA
from framematch.core.cloud_events import event_headers
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.clients import new_producer, start_client, stop_client
from framematch.core.kafka.compacted_topic import CompactedTopic
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us, to_rfc3339

log = structlog.get_logger()

# aiokafka also refuses, or asserts, by its own state, once its sender task has died of one of these.
_FENCED = (ProducerFenced, InvalidProducerEpoch, IllegalOperation, AssertionError)
# Longer than a try takes on a busy host: else two processes fence each other again and again.
_FIRST_DELAY_S, _MAX_DELAY_S = 0.05, 3.0

Change = Callable[[bytes | None, int], bytes | None]
"""Makes the new record of the present one and of the generation to give it, or raises why it must not be made."""


class CameraWriter:
    """Changes wanted cameras, one at a time; for the event loop alone. `topic` is read beside it."""

    def __init__(self, kafka: KafkaSettings, name: str, topic: CompactedTopic, *, timeout_s: float) -> None:
        """`name` is that of the topic. A change takes `timeout_s` at most."""
        self._kafka = kafka
        self._name = name
        self._topic = topic
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._producer: Any = None  # aiokafka publishes no types

    async def change(self, camera: str, change: Change) -> None:
        """Apply `change` to the newest record of the camera, and return when Kafka has it and `topic` shows it.

        Raises:
            KafkaUnavailableError: Kafka does not answer in time. Whether the change was made is then unknown.
            FramematchError: what `change` raises; nothing is written.
        """
        self._waiting += 1
        try:
            async with asyncio.timeout(self._timeout_s), self._lock:
                backoff = Backoff(_FIRST_DELAY_S, _MAX_DELAY_S)
                while True:
                    if await self._try(camera, change):
                        return
                    await asyncio.sleep(backoff.next_delay_s())
        except TimeoutError:
            raise KafkaUnavailableError(
                f"the change was not acknowledged within {self._timeout_s:g} s",
                hint="It may have been made nevertheless: read the camera, then repeat it if needed",
            ) from None
        finally:
            self._waiting -= 1
            if not self._waiting:  # a producer that is kept longer would only be fenced by another process
                await self.close()

    async def close(self) -> None:
        """Disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_client(producer)

    async def _try(self, camera: str, change: Change) -> bool:
        """Make the change once; False when another process was faster."""
        await self._become_writer()
        await self._topic.read_on(self._timeout_s)
        before = self._topic.values.get(camera)
        # Above every generation that the camera ever had: each is at most the offset behind its record.
        record = change(before, self._topic.end + 1)
        offset: int | None = None
        try:
            offset = await self._write(camera, record)
        except _FENCED:
            log.info("camera_writer_fenced", camera=camera)
            return False
        except KafkaError as error:
            raise KafkaUnavailableError(
                f"Kafka did not take the change ({type(error).__name__})",
                hint="It may have been made nevertheless: read the camera, then repeat it if needed",
            ) from None
        finally:
            if offset is None:
                await self.close()
        await self._topic.read_on(self._timeout_s, behind=offset)
        return True

    async def _become_writer(self) -> None:
        if self._producer is None:
            producer = new_producer(self._kafka, transactional_id=f"{self._name}.writer")
            try:
                await start_client(producer, self._kafka, explain=False)
            except asyncio.CancelledError:
                await stop_client(producer)
                raise
            self._producer = producer

    async def _write(self, camera: str, record: bytes | None) -> int:
        """Commit the record; returns its offset."""
        at_us = now_us()
        headers = event_headers(f"{camera}-settings-{at_us}", SETTINGS_SCHEMA, camera, to_rfc3339(at_us))
        await self._producer.begin_transaction()
        sent = await self._producer.send(self._name, record, key=camera.encode(), headers=headers, partition=0)
        sent.add_done_callback(_take_error)  # the commit raises it
        await self._producer.commit_transaction()
        return int((await sent).offset)


def _take_error(done: "asyncio.Future[object]") -> None:
    if not done.cancelled():
        done.exception()
