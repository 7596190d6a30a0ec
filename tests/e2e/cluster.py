"""A Kafka cluster of two brokers, of which the second may be killed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from framematch.core.kafka.clients import client_options, started
from framematch.core.settings import KafkaSettings
from framematch.stack.kafka import KafkaServer
from tests.e2e.site import unique_prefix
from tests.support import eventually

_SECOND = 2
_REPLICATED = """\
default.replication.factor=2
offsets.topic.replication.factor=2
transaction.state.log.replication.factor=2
"""


class FirstBroker(KafkaServer):
    """Broker and controller, so it must keep running."""

    def _settings(self, logs: Path) -> str:
        return super()._settings(logs) + _REPLICATED


class SecondBroker(KafkaServer):
    """Only a broker, in the cluster of the first."""

    def __init__(self, folder: Path, first: FirstBroker) -> None:
        super().__init__(folder)
        self.cluster_id = first.cluster_id
        self._first = first

    def _settings(self, logs: Path) -> str:
        # The last value of a repeated key applies.
        own = f"""\
process.roles=broker
node.id={_SECOND}
controller.quorum.voters=1@{self._first.controller}
listeners=PLAINTEXT://{self.bootstrap_servers}
"""
        return super()._settings(logs) + _REPLICATED + own


@contextmanager
def two_brokers(folder: Path) -> Iterator[tuple[FirstBroker, SecondBroker]]:
    """Run both inside the context."""
    first = FirstBroker(folder / "first")
    second = SecondBroker(folder / "second", first)
    try:
        first.start()
        second.start()
        yield first, second
    finally:
        for broker in (second, first):
            broker.stop()


async def prefix_coordinated_by_second(kafka: KafkaSettings) -> str:
    """A prefix for one test's topics whose consumer group, of the same name, is coordinated by the second broker."""
    prefix = ""
    async with started(AIOKafkaAdminClient(**client_options(kafka)), kafka) as admin:

        async def found() -> bool:
            nonlocal prefix
            prefix = unique_prefix()
            try:
                return bool(await admin.find_coordinator(prefix) == _SECOND)
            except GroupCoordinatorNotAvailableError:  # the topic of the offsets is being created
                return False

        await eventually(found, message="a group that the second broker coordinates")
    return prefix
