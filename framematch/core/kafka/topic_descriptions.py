"""What Kafka says about topics: their ids, by which a topic that was recreated is noticed, and their partitions.

aiokafka's own requests for metadata are of versions without ids.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import KafkaConnectionError, NoError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v4
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_API_KEY = 3  # Metadata
_ID_BYTES = 16
_NO_ID = bytes(_ID_BYTES)


@dataclass(frozen=True)
class TopicDescription:
    """An existing topic. `id` is None when the brokers are older than Kafka 2.8, which has no ids."""

    name: str
    id: bytes | None
    partitions: int


class _Uuid(AbstractType[bytes]):  # type: ignore[misc]  # aiokafka publishes no types
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(_ID_BYTES)


class _Response(Response):  # type: ignore[misc]  # the same
    API_KEY = _API_KEY
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString("utf-8")),
                ("id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _RequestWithIds(RequestStruct):  # type: ignore[misc]  # the same
    API_KEY = _API_KEY
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        ("topics", CompactArray(("id", _Uuid), ("topic", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _DescribeTopics(Request[MetadataRequest_v4 | _RequestWithIds]):  # type: ignore[misc]  # the same
    API_KEY = _API_KEY

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class is MetadataRequest_v4:
            return request_struct_class(self._topics, False)
        return request_struct_class([(_NO_ID, topic, {}) for topic in self._topics], False, False, False, {})


async def describe_topics(client: AIOKafkaClient, names: Iterable[str]) -> dict[str, TopicDescription]:
    """Ask a broker about these topics; those that do not exist, or that we may not see, are absent.

    Uses the connection for the group, on which no fetch waits for new records.

    Raises:
        KafkaError: no broker answers.
    """
    node = client.get_random_node()
    if node is None:
        raise KafkaConnectionError("no broker is known")
    response = await client.send(node, _DescribeTopics(list(names)), group=ConnectionGroup.COORDINATION)
    found = {}
    for code, name, *rest in response.topics:
        if for_code(code) is not NoError:
            continue
        with_id = response.API_VERSION == _RequestWithIds.API_VERSION
        partitions = rest[2] if with_id else rest[1]
        found[name] = TopicDescription(name, rest[0] if with_id else None, len(partitions))
    return found
