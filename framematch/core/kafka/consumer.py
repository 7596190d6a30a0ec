"""Our consumer: aiokafka's, which also survives records that it cannot decode, and knows the topics behind its offsets.

aiokafka raises what a codec raises, without saying where, and has then dropped the records that it had decoded before.
At the next call the same happens again.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    ConsumerStoppedError,
    CorruptRecordException,
    KafkaError,
    RecordTooLargeError,
    UnsupportedCodecError,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import OffsetAndMetadata

from framematch.core.kafka.client_pacing import pace
from framematch.core.kafka.protocols import Committed
from framematch.core.kafka.record_batches import UnreadableBatch, read_batches
from framematch.core.kafka.topic_descriptions import TopicDescription, describe_topics

log = structlog.get_logger()

_FETCH_BYTES = 4_194_304  # of one response; a larger batch is returned nevertheless
_NONE = -1
_WITH_REPLICA = 11  # the version from which the response has a preferred replica
_RETRY_S = 0.2
_MAX_READ_AGAIN = 10
_ID = "topic_id="
_UNREADABLE = (CorruptRecordException, RecordTooLargeError, UnsupportedCodecError)


@dataclass(frozen=True)
class UnreadableRecords:
    """Records that the client cannot decode: offsets [`first`, `stop`) of a partition."""

    partition: TopicPartition
    first: int
    stop: int
    codec: str
    error: str


OnUnreadable = Callable[[UnreadableRecords], None]
OnMember = Callable[[str], None]


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka publishes no types
    """A consumer that names and skips what it cannot decode, and asks the brokers at a bounded rate.

    Each batch that is skipped was fetched twice, is logged (`records_unreadable`) and reported to `on_unreadable`. The
    other records of its partition, and other partitions, are read. `on_member` gets the id that the group has given to
    this member, soon after each change.
    """

    def __init__(
        self,
        *topics: str,
        on_unreadable: OnUnreadable = lambda _found: None,
        on_member: OnMember = lambda _id: None,
        **options: Any,
    ) -> None:
        super().__init__(*topics, **options)
        self._on_unreadable = on_unreadable
        self._on_member = on_member
        self._member_id = ""
        self.topic_ids: dict[str, bytes | None] = {}
        self._read_again = 0
        self._isolation = int(options.get("isolation_level") == "read_committed")
        pace(self._client)

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """As in aiokafka."""
        before = {} if max_records == 1 else self.next_offsets()
        try:
            found: Mapping[TopicPartition, Sequence[ConsumerRecord]] = await super().getmany(
                *partitions, timeout_ms=timeout_ms, max_records=max_records
            )
        except Exception as error:  # of any codec or decoder, which have no common class
            if isinstance(error, KafkaError | ConsumerStoppedError) and not isinstance(error, _UNREADABLE):
                raise
            # One record at a time: nothing was decoded before the error, so the offsets are still those before.
            return await self._read_around(error, before or self.next_offsets(), partitions, max_records)
        finally:
            self._report_member()
        self._read_again = 0
        return found

    def _report_member(self) -> None:
        member_id = getattr(self._coordinator, "member_id", "")  # without a group there is none
        if member_id and member_id != self._member_id:
            self._member_id = member_id
            self._on_member(member_id)

    def next_offsets(self) -> dict[TopicPartition, int]:
        """The next offset to read of each assigned partition that has one.

        It is behind everything that was returned, and behind offsets without a record: the end of a transaction, an
        aborted transaction, what compaction has removed.
        """
        subscription = self._subscription.subscription
        if subscription is None or (assignment := subscription.assignment) is None:
            return {}
        states = {partition: assignment.state_value(partition) for partition in assignment.tps}
        return {partition: state.position for partition, state in states.items() if state.has_valid_position}

    def uncommitted_end(self, partition: TopicPartition) -> int:
        """The end of the partition, open transactions included, as of its last fetch; -1 before the first one."""
        end = self.highwater(partition)
        return _NONE if end is None else end

    def fetch_errors(self) -> dict[TopicPartition, str]:
        """The assigned partitions that their broker cannot read at present, and its error."""
        assigned = self.assignment()
        return {one: error for one, error in self._client.fetch_errors.items() if one in assigned}

    async def commits(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Committed | None]:
        """What the group has committed for each; None where nothing was.

        Raises:
            KafkaError: the broker refuses.
        """
        wanted = list(partitions)
        found = await self._coordinator.fetch_committed_offsets(wanted) if wanted else {}
        return {one: _committed(found[one]) if one in found else None for one in wanted}

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """As in aiokafka, with the topic's id, so that the offset is not taken for one of a later topic."""
        await super().commit(self.with_topic_ids(offsets))

    def with_topic_ids(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, tuple[int, str]]:
        """The offsets with the id of their topic as metadata."""
        ids = self.topic_ids
        return {one: (offset, f"{_ID}{(ids.get(one.topic) or b'').hex()}") for one, offset in offsets.items()}

    async def describe(self, *topics: str) -> dict[str, TopicDescription]:
        """As `describe_topics`."""
        return await describe_topics(self._client, topics)

    async def locate(self, *topics: str) -> None:
        """Ask once where the partitions of these topics are, if they exist.

        aiokafka finds out when a request needs it, and then waits 0.1 s before it makes that request, for each topic.
        """
        await self._client.set_topics(topics)

    def refresh_metadata(self) -> None:
        """Ask soon which partitions the topics have; a change rebalances the group."""
        self._client.force_metadata_update()

    async def _read_around(
        self,
        error: Exception,
        before: Mapping[TopicPartition, int],
        partitions: Iterable[TopicPartition],
        max_records: int | None,
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """After an error while decoding: the records before the batch that cannot be read, or none and skip it.

        All partitions are read again from their offset `before`, as what was decoded is lost with the error.
        """
        assigned = self.assignment()
        again = {one: offset for one, offset in before.items() if one in assigned}
        for partition, offset in again.items():
            self.seek(partition, offset)
        wanted, all_read = frozenset(partitions) or assigned, True
        for partition in sorted((wanted & again.keys()) - self.paused()):
            found = await self._read_partition(partition, again[partition])
            if found is None or partition not in self.assignment():
                all_read = False
                continue
            records, unreadable = found
            if unreadable is None:
                continue
            if records := records[:max_records]:
                self.seek(partition, records[-1].offset + 1)
                return {partition: records}
            self._skip(partition, again[partition], unreadable)
            return {}
        # It was damaged on its way, or the broker does not send it now. Else it is about something else.
        self._read_again += all_read
        if self._read_again > _MAX_READ_AGAIN:
            raise error
        log.warning("records_read_again", error=repr(error))
        await asyncio.sleep(_RETRY_S)
        return {}

    async def _read_partition(
        self, partition: TopicPartition, offset: int
    ) -> tuple[Sequence[ConsumerRecord], UnreadableBatch | None] | None:
        """One fetch of this partition alone, as the broker sends it; None when it does not send it."""
        leader = self._client.cluster.leader_for_partition(partition)
        if leader is None or leader == _NONE:
            return None
        wanted = [(partition.topic, [(partition.partition, offset, _FETCH_BYTES)])]
        try:
            response = await self._client.send(leader, FetchRequest(0, 0, _FETCH_BYTES, self._isolation, wanted))
        except KafkaError:
            return None
        [(_, [(_, code, _, *rest)])] = response.topics
        if code:
            return None
        aborted = rest[-3] if response.API_VERSION >= _WITH_REPLICA else rest[-2]
        return read_batches(partition, offset, rest[-1], aborted, self._isolation)

    def _skip(self, partition: TopicPartition, offset: int, batch: UnreadableBatch) -> None:
        self.seek(partition, batch.stop)
        log.error(
            "records_unreadable",
            topic=partition.topic,
            partition=partition.partition,
            from_offset=batch.first,
            to_offset=batch.stop,
            codec=batch.codec,
            error=batch.error,
            hint="They are skipped. Check who sends them, and that it uses gzip, snappy, lz4, zstd or no compression",
        )
        found = UnreadableRecords(partition, max(offset, batch.first), batch.stop, batch.codec, batch.error)
        self._on_unreadable(found)


def _committed(found: OffsetAndMetadata) -> Committed | None:
    if found.offset < 0:
        return None
    metadata = found.metadata or ""
    try:
        topic_id = bytes.fromhex(metadata.removeprefix(_ID)) if metadata.startswith(_ID) else None
    except ValueError:  # somebody else's
        topic_id = None
    return Committed(found.offset, topic_id or None)
