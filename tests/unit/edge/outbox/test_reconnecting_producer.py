"""The edge's producer without a broker."""

import pytest

from edge.outbox.reconnecting_producer import ReconnectingProducer
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.records import ProducerRecord
from framematch.core.settings import KafkaSettings

NOBODY = "127.0.0.1:9"


@pytest.mark.parametrize("method", ["send", "send_isolated"])
async def test_nothing_is_queued_before_it_is_connected(method: str) -> None:
    producer = ReconnectingProducer(KafkaSettings(bootstrap_servers=NOBODY))
    assert not producer.connected
    with pytest.raises(KafkaUnavailableError):
        await getattr(producer, method)(ProducerRecord("frames", b"key", b"value"))
    await producer.close()
