"""The edge's connection without a broker."""

import pytest

from edge.outbox.connection import Connection
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.records import ProducerRecord
from framematch.core.settings import KafkaSettings

NOBODY = "127.0.0.1:9"


@pytest.mark.parametrize("way", ["send", "send_alone"])
async def test_without_a_producer_nothing_is_queued(way: str) -> None:
    connection = Connection(KafkaSettings(bootstrap_servers=NOBODY))
    assert not connection.connected
    with pytest.raises(KafkaUnavailableError):
        await getattr(connection, way)(ProducerRecord("frames", b"key", b"value"))
    await connection.close()
