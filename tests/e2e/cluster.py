"""Two Kafka brokers as one cluster: one can be lost, and the other goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from framematch.core.kafka.clients import client_options, started
from framematch.core.settings import KafkaSettings
from stack.kafka import KafkaServer
from tests.e2e.site import unique_prefix
from tests.support import eventually

_SECOND = 2
_REPLICATED = """\
default.replication.factor=2
offsets.topic.replication.factor=2
transaction.state.log.replication.factor=2
"""


class FirstBroker(KafkaServer):
    """The controller too, so it must stay."""

    def _settings(self, logs: Path) -> str:
        return super()._settings(logs) + _REPLICATED


class SecondBroker(KafkaServer):
    """A broker alone, in the cluster of the first."""

    def __init__(self, folder: Path, first: FirstBroker) -> None:
        super().__init__(folder)
        self.cluster_id = first.cluster_id
        self._first = first

    def _settings(self, logs: Path) -> str:
        # What comes later holds.
        own = f"""\
process.roles=broker
node.id={_SECOND}
controller.quorum.voters=1@{self._first.controller}
listeners=PLAINTEXT://{self.bootstrap_servers}
"""
        return super()._settings(logs) + _REPLICATED + own


@contextmanager
def two_brokers(folder: Path) -> Iterator[tuple[FirstBroker, SecondBroker]]:
    """Both running while the block does."""
    first = FirstBroker(folder / "first")
    second = SecondBroker(folder / "second", first)
    try:
        first.start()
        second.start()
        yield first, second
    finally:
        for broker in (second, first):
            broker.stop()


async def name_for_the_second(kafka: KafkaSettings) -> str:
    """A name for the topics and the group of one test, so that the second broker coordinates the group."""
    name = ""
    async with started(AIOKafkaAdminClient(**client_options(kafka)), kafka) as admin:

        async def found() -> bool:
            nonlocal name
            name = unique_prefix()
            try:
                return bool(await admin.find_coordinator(name) == _SECOND)
            except GroupCoordinatorNotAvailableError:  # its topic is being made
                return False

        await eventually(found, message="a group that the second broker coordinates")
    return name
