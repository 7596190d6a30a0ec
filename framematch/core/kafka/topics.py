"""The topics: names, configuration, and the creation of missing ones."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from framematch.core.kafka.clients import HEADROOM_BYTES, kafka_errors, new_admin, started
from framematch.core.settings import KafkaSettings
from framematch.core.units import MS_PER_HOUR, MS_PER_MINUTE

log = structlog.get_logger()

_LEADER_TIMEOUT_S = 10.0
_LEADER_POLL_S = 0.1
_TOPIC_POLL_S = 1.0
_REPLICAS = 3  # one broker may be down for maintenance while another one fails


class Topics:
    """The topic names with one prefix; those of frames, matches and sightings are keyed by camera."""

    def __init__(self, prefix: str) -> None:
        self.frames = f"{prefix}.frames"
        """JPEGs."""
        self.matches = f"{prefix}.matches"
        """Match events (`match.v1`)."""
        self.sightings = f"{prefix}.sightings"
        """A product comes into view, stays, and leaves (`sighting.v1`)."""
        self.status = f"{prefix}.status"
        """The latest status of each camera (`camera-status.v1`), compacted."""
        self.cameras = f"{prefix}.cameras"
        """The cameras that edges should run, besides those of their own files (`camera-settings.v1`), compacted."""
        self.deadletter = f"{prefix}.deadletter"
        """Records that could not be processed, byte for byte, with the reason in their headers."""
        self.logs = f"{prefix}.logs"
        """What services log (`log.v1`), where the setting `log.topic` is on."""
        self.all = (
            self.frames, self.matches, self.sightings, self.status, self.cameras, self.deadletter, self.logs
        )  # fmt: skip


PARTITIONS_HINT = (
    "Give these topics the same number of partitions: kafka-topics.sh --alter --partitions, for those that have fewer"
)


def differing_partitions(topics: Topics, partitions: Mapping[str, int]) -> str:
    """How the numbers of partitions differ among the topics keyed by camera, as a text; empty when they are equal.

    `partitions` has the numbers of the topics that exist.
    """
    found = {name: partitions[name] for name in (topics.frames, topics.matches, topics.sightings) if name in partitions}
    if len(set(found.values())) <= 1:
        return ""
    return ", ".join(f"{name} has {count}" for name, count in found.items())


def replicas_of(settings: KafkaSettings, brokers: int) -> int:
    """The replication factor of topics that we create."""
    return settings.replication_factor or min(brokers, _REPLICAS)


def topic_specs(settings: KafkaSettings, brokers: int) -> list[NewTopic]:
    """Every topic with its partitions, replication and retention, for a cluster of `brokers` brokers.

    Frames, matches and sightings have the same number of partitions and the same key, so a camera stays in one
    partition of each.
    """
    topics = Topics(settings.topic_prefix)
    replicas = replicas_of(settings, brokers)
    frames_ms = str(int(settings.frames_retention_minutes * MS_PER_MINUTE))
    matches_ms = str(int(settings.matches_retention_hours * MS_PER_HOUR))
    largest = str(settings.max_message_bytes + HEADROOM_BYTES)
    largest_dead = str(settings.max_message_bytes + 2 * HEADROOM_BYTES)  # with the headers of a dead letter
    shapes: list[tuple[str, int, dict[str, str]]] = [
        (topics.frames, settings.partitions, {"retention.ms": frames_ms, "max.message.bytes": largest}),
        (topics.matches, settings.partitions, {"retention.ms": matches_ms}),
        (topics.sightings, settings.partitions, {"retention.ms": matches_ms}),
        (topics.status, 1, {"cleanup.policy": "compact"}),
        (topics.cameras, 1, {"cleanup.policy": "compact"}),
        (topics.deadletter, 1, {"retention.ms": matches_ms, "max.message.bytes": largest_dead}),
        (topics.logs, 1, {"retention.ms": matches_ms}),
    ]
    return [NewTopic(name, partitions, replicas, topic_configs=config) for name, partitions, config in shapes]


async def ensure_topics(settings: KafkaSettings) -> list[str]:
    """Create the missing topics and return their names; existing ones are not changed.

    Raises:
        KafkaUnavailableError: no broker answers, or it does not let us create a topic.
    """
    async with started(new_admin(settings), settings) as admin:
        with kafka_errors(settings):
            existing = set(await admin.list_topics())
            brokers = len((await admin.describe_cluster())["brokers"])
            missing = [spec for spec in topic_specs(settings, brokers) if spec.name not in existing]
            created = [spec.name for spec in missing if await _create(admin, spec)]
            with suppress(TimeoutError):  # clients that connect earlier retry by themselves
                await _wait_for_leaders(admin, created)
    return created


async def topic_exists(settings: KafkaSettings, name: str) -> bool:
    """Whether the topic exists and we may see it.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses the request.
    """
    async with started(new_admin(settings), settings) as admin:
        with kafka_errors(settings):
            return name in await admin.list_topics()


async def wait_for_topic(settings: KafkaSettings, name: str) -> bool:
    """Wait until the topic exists, for as long as it takes; readers create no topics. Returns whether it had to wait.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses the request.
    """
    waited = False
    async with started(new_admin(settings), settings) as admin:
        with kafka_errors(settings):
            while name not in await admin.list_topics():
                if not waited:
                    log.warning("topic_awaited", topic=name, hint="The services create it, or we may not read it")
                waited = True
                await asyncio.sleep(_TOPIC_POLL_S)
            if waited:
                with suppress(TimeoutError):
                    await _wait_for_leaders(admin, [name])
    return waited


async def _create(admin: AIOKafkaAdminClient, spec: NewTopic) -> bool:
    """Create a topic; False when another client just did, KafkaError when the broker refused."""
    code = (await admin.create_topics([spec])).topic_errors[0][1]
    error = for_code(code)
    if error is TopicAlreadyExistsError:
        return False
    if code:
        raise error(f"creating {spec.name}")
    return True


async def _wait_for_leaders(admin: AIOKafkaAdminClient, names: list[str]) -> None:
    """Wait until every partition of new topics has a leader, so that no client logs errors about it."""
    if not names:
        return
    async with asyncio.timeout(_LEADER_TIMEOUT_S):
        while True:
            topics = await admin.describe_topics(names)
            partitions = [partition for topic in topics for partition in topic["partitions"]]
            have_leaders = all(partition["leader"] >= 0 and not partition["error_code"] for partition in partitions)
            if partitions and have_leaders and not any(topic["error_code"] for topic in topics):
                return
            await asyncio.sleep(_LEADER_POLL_S)
