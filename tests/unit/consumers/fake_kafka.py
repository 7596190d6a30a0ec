"""A fake broker and its producers, as far as the deliveries use them: fencing, transactions, failures on demand."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced

from framematch.core.kafka.protocols import OffsetStore, Producer
from framematch.core.kafka.records import Headers

Step = str
"""`start`, `begin`, `send`, `acknowledge`, `offsets`, `commit`, or `committed`: committed, but the reply is lost."""


class InjectedError(KafkaError):  # type: ignore[misc]  # aiokafka publishes no types
    """The error of an injected failure."""


@dataclass
class FakeBroker:
    """One transactional id or none, and the output and offset that were committed.

    `fails` is asked before each step whether it fails; it may also change the broker meanwhile.
    """

    fails: Callable[[Step], bool] = lambda _step: False
    output: list[bytes] = field(default_factory=list)
    offset: int | None = None
    epoch: int = 0
    producers: list["FakeProducer"] = field(default_factory=list)

    def new_producer(self, *_settings: object, **_options: object) -> Producer:
        """Replaces `framematch.core.kafka.clients.new_producer`."""
        self.producers.append(FakeProducer(self))
        return self.producers[-1]

    @property
    def offset_store(self) -> OffsetStore:
        """The broker as a member of the group sees its offsets."""
        return self

    async def committed(self, partition: TopicPartition) -> int | None:
        """The one offset, whatever the partition."""
        del partition
        return self.offset

    def with_topic_ids(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """Without ids."""
        return offsets

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit without a transaction."""
        (self.offset,) = offsets.values()

    def take_over(self) -> int:
        """Give the transactional id to another owner; the former one is fenced."""
        self.epoch += 1
        return self.epoch

    @property
    def running(self) -> list["FakeProducer"]:
        """Producers that were started and not stopped."""
        return [producer for producer in self.producers if producer.runs]


class FakeProducer:
    """A producer for one partition. Without a transaction a record is output once it is acknowledged."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._epoch = 0
        self._transaction: list[bytes] | None = None
        self._offset: int | None = None
        self._dead = False
        self.runs = False
        self.client = self

    async def start(self) -> None:
        """Take the transactional id over."""
        self._step("start")
        self._epoch = self._broker.take_over()
        self.runs = True

    async def stop(self) -> None:
        """Close it; what is not committed is lost."""
        self.runs = False

    async def begin_transaction(self) -> None:
        """Only the client knows of it yet."""
        self._step("begin")
        self._transaction, self._offset = [], None

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes | None, headers: Headers, partition: int | None
    ) -> asyncio.Future[object]:
        """Returns a future that is done at once. After one that failed, all fail."""
        del topic, key, headers, partition
        if self._dead and self._transaction is not None:
            raise IllegalOperation("Can't send messages while not in transaction")
        self._step("send")
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        try:
            self._step_as_owner("acknowledge")
        except KafkaError as error:
            self._dead = True
            future.set_exception(error)
        else:
            (self._broker.output if self._transaction is None else self._transaction).append(value or b"")
            future.set_result(None)
        return future

    async def partitions_for(self, topic: str) -> set[int]:
        """Twelve of each topic."""
        del topic
        return set(range(12))

    async def send_offsets_to_transaction(self, offsets: Mapping[TopicPartition, int], group_id: str) -> None:
        """They count once the transaction is committed."""
        del group_id
        self._step_as_owner("offsets")
        (self._offset,) = offsets.values()

    async def commit_transaction(self) -> None:
        """Output and offset become visible together."""
        self._step_as_owner("commit")
        assert self._transaction is not None
        self._broker.output += self._transaction
        self._broker.offset = self._broker.offset if self._offset is None else self._offset
        self._transaction = None
        self._step("committed")

    def _step(self, step: Step) -> None:
        if self._broker.fails(step) or (self._dead and self._transaction is None):
            raise InjectedError(step)

    def _step_as_owner(self, step: Step) -> None:
        self._step(step)
        if self._transaction is not None and self._epoch != self._broker.epoch:
            raise ProducerFenced


def failing_at(*steps: Step | None) -> Callable[[Step], bool]:
    """A `fails` by which these steps fail, each once and in this order; None lets one step of any kind succeed."""
    script: Iterator[Step | None] = iter(steps)
    next_failure: list[Step | None] = [next(script, "")]

    def fails(step: Step) -> bool:
        if next_failure[0] not in {step, None}:
            return False
        failed = next_failure[0] == step
        next_failure[0] = next(script, "")
        return failed

    return fails
