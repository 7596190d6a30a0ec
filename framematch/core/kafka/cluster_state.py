"""The present state of our topics in the cluster: partitions, replicas, configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from framematch.core.kafka.clients import kafka_errors, new_admin, started
from framematch.core.kafka.topics import Topics, differing_partitions
from framematch.core.settings import KafkaSettings


@dataclass(frozen=True)
class TopicState:
    """An existing topic; `config` has Kafka's names, and includes the broker's defaults."""

    name: str
    partitions: int
    replicas: int
    config: dict[str, str]


@dataclass(frozen=True)
class ClusterState:
    """The number of brokers, and our topics that exist."""

    brokers: int
    topics: dict[str, TopicState]


async def cluster_state(settings: KafkaSettings) -> ClusterState:
    """Query the brokers and our topics.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses the request.
    """
    async with started(new_admin(settings), settings) as admin:
        with kafka_errors(settings):
            brokers = len((await admin.describe_cluster())["brokers"])
            found = await _existing(admin, Topics(settings.topic_prefix).all)
            configs = await _configs(admin, [topic["topic"] for topic in found])
    return ClusterState(brokers, {topic["topic"]: _state(topic, configs[topic["topic"]]) for topic in found})


async def frames_partitions(settings: KafkaSettings) -> int | None:
    """The number of partitions of the frames topic; None when it does not exist yet.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses the request.
    """
    async with started(new_admin(settings), settings) as admin:
        with kafka_errors(settings):
            found = await _existing(admin, [Topics(settings.topic_prefix).frames])
    return len(found[0]["partitions"]) if found else None


async def age_limit_ms(settings: KafkaSettings, topic: str) -> int | None:
    """The age that Kafka lets every record of this topic reach before it deletes it; None: it deletes none.

    0 when records may be deleted earlier: because of their size, or because we may not read the topic's configuration.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses the request.
    """
    async with started(new_admin(settings), settings) as admin:
        with kafka_errors(settings):
            config = (await _configs(admin, [topic])).get(topic, {})
    if int(config.get("retention.bytes", 0)) >= 0 or "retention.ms" not in config:
        return 0
    retention_ms = int(config["retention.ms"])
    return None if retention_ms < 0 else retention_ms


async def _existing(admin: AIOKafkaAdminClient, names: Sequence[str]) -> list[dict[str, Any]]:
    """Metadata of the topics that exist. A request for a missing one could create it, where the broker does that."""
    existing = set(await admin.list_topics())
    wanted = [name for name in names if name in existing]
    return list(await admin.describe_topics(wanted)) if wanted else []


async def _configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    # (error code, error, kind, name, entries); an entry starts with its name and value.
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for response in responses
        for resource in response.resources
    }


def _state(topic: dict[str, Any], config: dict[str, str]) -> TopicState:
    partitions = topic["partitions"]
    return TopicState(topic["topic"], len(partitions), len(partitions[0]["replicas"]), config)


def partition_differences(settings: KafkaSettings, cluster: ClusterState) -> str:
    """How the numbers of partitions of frames, matches and sightings differ, as a text; empty when they are equal."""
    topics = Topics(settings.topic_prefix)
    return differing_partitions(topics, {name: topic.partitions for name, topic in cluster.topics.items()})


def differences(wanted: NewTopic, found: TopicState) -> list[str]:
    """How an existing topic differs from what the settings ask for, as texts."""
    asked = {"partitions": wanted.num_partitions, "replicas": wanted.replication_factor, **wanted.topic_configs}
    actual = {"partitions": found.partitions, "replicas": found.replicas, **found.config}
    return [f"{name} {actual.get(name)}, not {value}" for name, value in asked.items() if actual.get(name) != value]
