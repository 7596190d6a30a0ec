"""Members that have died, on a real broker: the others get their partitions at once."""

import uuid

import pytest

from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.kafka.dead_members import remove_members
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.stack.kafka import KafkaServer
from tests.support import eventually

pytestmark = pytest.mark.integration

_NEVER = {"session_timeout_ms": 600_000, "heartbeat_interval_ms": 300_000}


@pytest.fixture
async def kafka_settings(kafka: KafkaServer) -> KafkaSettings:
    prefix = f"members-{uuid.uuid4().hex[:8]}"
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, partitions=4)
    await ensure_topics(settings)
    return settings


async def test_the_partitions_of_a_member_that_was_removed_move_without_its_session_ending(
    kafka_settings: KafkaSettings,
) -> None:
    group, topic = kafka_settings.topic_prefix, Topics(kafka_settings.topic_prefix).frames
    dead_ids: list[str] = []
    # It sends no heartbeat, as a dead one, and hears of nothing.
    dead = new_consumer(kafka_settings, topic, group_id=group, on_member=dead_ids.append, **_NEVER)
    own_ids: list[str] = []
    own = new_consumer(
        kafka_settings,
        topic,
        group_id=group,
        on_member=own_ids.append,
        session_timeout_ms=600_000,
        heartbeat_interval_ms=100,
    )
    async with started(dead, kafka_settings):

        async def dead_has(partitions: int) -> bool:
            await dead.getmany(timeout_ms=50)
            return len(dead.assignment()) == partitions

        await eventually(lambda: dead_has(4))
        await remove_members(kafka_settings, group, dead_ids[-1:])
        async with started(own, kafka_settings):

            async def own_has_all() -> bool:
                await own.getmany(timeout_ms=50)
                return len(own.assignment()) == 4

            await eventually(own_has_all, message="all partitions, though the other one never said that it leaves")
            assert own_ids[-1] not in dead_ids
            await remove_members(kafka_settings, group, dead_ids)  # Kafka does not know them any more


async def test_a_broker_that_does_not_answer_is_reported(dead_address: str) -> None:
    with pytest.raises(KafkaUnavailableError):
        await remove_members(KafkaSettings(bootstrap_servers=dead_address), "group", ["aiokafka-1"])
