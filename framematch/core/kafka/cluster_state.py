"""What the cluster's topics of ours are like now: partitions, replicas, configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from framematch.core.kafka.clients import client_options, kafka_errors, started
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings


@dataclass(frozen=True)
class TopicState:
    """One topic as it is; `config` are its settings by Kafka's names, the broker's defaults too."""

    name: str
    partitions: int
    replicas: int
    config: dict[str, str]


@dataclass(frozen=True)
class ClusterState:
    """Brokers that are there, and the topics of ours that exist."""

    brokers: int
    topics: dict[str, TopicState]


async def cluster_state(settings: KafkaSettings) -> ClusterState:
    """What there is.

    Raises:
        KafkaUnavailableError: no broker answers, or it does not let us look.
    """
    async with started(AIOKafkaAdminClient(**client_options(settings)), settings) as admin:
        with kafka_errors(settings):
            brokers = len((await admin.describe_cluster())["brokers"])
            found = await _existing(admin, Topics(settings.topic_prefix).all)
            configs = await _configs(admin, [topic["topic"] for topic in found])
    return ClusterState(brokers, {topic["topic"]: _state(topic, configs[topic["topic"]]) for topic in found})


async def frames_partitions(settings: KafkaSettings) -> int | None:
    """How many partitions the frames topic has; None when there is no such topic yet.

    Raises:
        KafkaUnavailableError: no broker answers, or it does not let us look.
    """
    async with started(AIOKafkaAdminClient(**client_options(settings)), settings) as admin:
        with kafka_errors(settings):
            found = await _existing(admin, [Topics(settings.topic_prefix).frames])
    return len(found[0]["partitions"]) if found else None


async def _existing(admin: AIOKafkaAdminClient, names: Sequence[str]) -> list[dict[str, Any]]:
    """Metadata of those that exist. Asked for by name, a missing one would be created where the broker does that."""
    there = set(await admin.list_topics())
    wanted = [name for name in names if name in there]
    return list(await admin.describe_topics(wanted)) if wanted else []


async def _configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    # (error code, error, kind, name, entries), and an entry begins with its name and value.
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for response in responses
        for resource in response.resources
    }


def _state(topic: dict[str, Any], config: dict[str, str]) -> TopicState:
    partitions = topic["partitions"]
    return TopicState(topic["topic"], len(partitions), len(partitions[0]["replicas"]), config)


def differences(wanted: NewTopic, found: TopicState) -> list[str]:
    """In what a topic is not as the settings would make it, in words."""
    shape = {"partitions": wanted.num_partitions, "replicas": wanted.replication_factor, **wanted.topic_configs}
    there = {"partitions": found.partitions, "replicas": found.replicas, **found.config}
    return [f"{name} {there.get(name)}, not {value}" for name, value in shape.items() if there.get(name) != value]
