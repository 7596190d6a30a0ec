"""A broker and its producers as far as the deliveries use them: fencing, transactions, and failures on demand."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced

Step = str
"""`begin`, `send`, `acknowledge`, `offsets`, `commit`, or `committed`: the commit is done, and its answer is lost."""


class BrokenError(KafkaError):  # type: ignore[misc]  # aiokafka publishes no types
    """A simulated failure."""


@dataclass
class FakeBroker:
    """What is committed; `fate` is asked before each step whether it fails, and may do something else meanwhile."""

    fate: Callable[[Step], bool] = lambda _step: False
    output: list[bytes] = field(default_factory=list)
    offset: int | None = None
    epoch: int = 0
    producers: list["FakeProducer"] = field(default_factory=list)

    def new_producer(self, *_settings: object, **_options: object) -> "FakeProducer":
        """In place of `framematch.core.kafka.clients.new_producer`."""
        self.producers.append(FakeProducer(self))
        return self.producers[-1]

    async def committed(self, _partition: TopicPartition) -> int | None:
        """As a member of the group asks."""
        return self.offset

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """As a member of the group does it without a transaction."""
        (self.offset,) = offsets.values()

    def take_over(self) -> int:
        """Another owner of the transactional id: whoever had it before is fenced."""
        self.epoch += 1
        return self.epoch

    @property
    def running(self) -> list["FakeProducer"]:
        """Producers that were started and not stopped."""
        return [producer for producer in self.producers if producer.runs]


class FakeProducer:
    """Transactional or not; of one partition. Without a transaction a record is out once it is acknowledged."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._epoch = 0
        self._open: list[bytes] | None = None
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
        """Nothing of this goes to the broker yet."""
        self._step("begin")
        self._open, self._offset = [], None

    async def send(self, _topic: str, value: bytes, **_record: Any) -> asyncio.Future[object]:
        """A future that is done at once, as the broker answers. After one that failed, all fail."""
        if self._dead and self._open is not None:
            raise IllegalOperation("Can't send messages while not in transaction")
        self._step("send")
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        try:
            self._check("acknowledge")
        except KafkaError as error:
            self._dead = True
            future.set_exception(error)
        else:
            (self._broker.output if self._open is None else self._open).append(value)
            future.set_result(None)
        return future

    async def send_offsets_to_transaction(self, offsets: Mapping[TopicPartition, int], _group: str) -> None:
        """They count once the transaction is committed."""
        self._check("offsets")
        (self._offset,) = offsets.values()

    async def commit_transaction(self) -> None:
        """Output and offset become visible together."""
        self._check("commit")
        assert self._open is not None
        self._broker.output += self._open
        self._broker.offset = self._broker.offset if self._offset is None else self._offset
        self._open = None
        self._step("committed")

    def _step(self, step: Step) -> None:
        if self._broker.fate(step) or (self._dead and self._open is None):
            raise BrokenError(step)

    def _check(self, step: Step) -> None:
        self._step(step)
        if self._open is not None and self._epoch != self._broker.epoch:
            raise ProducerFenced


def failing_at(*steps: Step | None) -> Callable[[Step], bool]:
    """A fate by which these fail, each once and in this order; None lets one step of any kind go by."""
    script: Iterator[Step | None] = iter(steps)
    wanted: list[Step | None] = [next(script, "")]

    def fails(step: Step) -> bool:
        if wanted[0] not in {step, None}:
            return False
        failed = wanted[0] == step
        wanted[0] = next(script, "")
        return failed

    return fails
