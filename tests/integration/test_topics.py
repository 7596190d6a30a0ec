"""Topics on a real broker."""

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.clients import client_options, new_producer, started
from framematch.core.kafka.cluster_state import cluster_state, differences, frames_partitions
from framematch.core.kafka.topics import Topics, ensure_topics, topic_specs
from framematch.core.settings import KafkaSettings
from framematch.stack.kafka import KafkaServer

pytestmark = pytest.mark.integration


async def test_missing_topics_are_created_once_with_their_partitions(kafka: KafkaServer) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix="topics-once", partitions=3)
    assert set(await ensure_topics(settings)) == set(Topics("topics-once").all)
    assert await ensure_topics(settings) == []
    async with started(AIOKafkaAdminClient(**client_options(settings)), settings) as admin:
        [frames] = await admin.describe_topics(["topics-once.frames"])
    assert len(frames["partitions"]) == 3


async def test_services_that_start_concurrently_all_find_the_topics(kafka: KafkaServer) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix="topics-race")
    created = await asyncio.gather(*(ensure_topics(settings) for _ in range(4)))
    assert {name for names in created for name in names} == set(Topics("topics-race").all)


async def test_the_broker_accepts_the_configuration_of_the_topics(kafka: KafkaServer) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix="topics-config")
    await ensure_topics(settings)
    resource = ConfigResource(ConfigResourceType.TOPIC, "topics-config.status")
    async with started(AIOKafkaAdminClient(**client_options(settings)), settings) as admin:
        [response] = await admin.describe_configs([resource])
    entries = {entry[0]: entry[1] for entry in response.resources[0][4]}
    assert entries["cleanup.policy"] == "compact"


async def test_created_topics_match_the_settings_and_other_settings_are_a_difference(
    kafka: KafkaServer,
) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix="topics-state", partitions=2)
    assert (await cluster_state(settings)).topics == {}
    assert await frames_partitions(settings) is None
    await ensure_topics(settings)
    cluster = await cluster_state(settings)
    for spec in topic_specs(settings, cluster.brokers):
        assert differences(spec, cluster.topics[spec.name]) == []
    assert await frames_partitions(settings) == 2
    wish = topic_specs(settings.model_copy(update={"partitions": 4}), cluster.brokers)[0]
    assert differences(wish, cluster.topics["topics-state.frames"]) == ["partitions 2, not 4"]


async def test_the_largest_frame_fits(kafka: KafkaServer) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix="topics-large")
    await ensure_topics(settings)
    async with started(new_producer(settings), settings) as producer:
        sent = await producer.send_and_wait("topics-large.frames", bytes(settings.max_message_bytes), key=b"till-1")
    assert sent.offset == 0


async def test_a_broker_that_is_not_there_is_one_clear_error(dead_address: str) -> None:
    with pytest.raises(KafkaUnavailableError, match=f"Kafka does not answer at {dead_address}"):
        await ensure_topics(KafkaSettings(bootstrap_servers=dead_address))
