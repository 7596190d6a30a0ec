"""Apache Kafka as one KRaft node: broker and controller in one Java process."""

import asyncio
import base64
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from framematch.core.errors import KafkaUnavailableError
from stack.cache import Report, run_tool
from stack.kafka_security import LISTENERS, KafkaSecurity, write_private
from stack.maven import maven_jars
from stack.prerequisites import java_kit
from stack.process import Command
from stack.server import ReservedPort, Server, listens

POM = Path(__file__).with_name("kafka-pom.xml")
LOGGING = Path(__file__).with_name("kafka-log4j2.properties")
_PING_TIMEOUT_MS = 2000
# The serial collector and the first compiler alone: up in three seconds, and quick enough for one machine's cameras.
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={LOGGING}")

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners={listeners}
controller.listener.names=CONTROLLER
listener.security.protocol.map={protocols}
log.dirs={logs}
# A misspelt topic is an error, not a new topic.
auto.create.topics.enable=false
message.max.bytes=16777216
# One node holds everything once, and groups start without waiting for more members.
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# A killed broker may come back only when the controller has given up its last life: 9 s unless told.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
log.cleaner.dedupe.buffer.size=16777216
"""


def ping(bootstrap_servers: str) -> None:
    """Ask for the cluster's metadata, and for a broker in it.

    Raises:
        KafkaUnavailableError: no answer, or a cluster without a broker.
    """
    if not listens(bootstrap_servers):
        raise KafkaUnavailableError(
            f"nothing listens at {bootstrap_servers}", hint="Start Kafka, or set KAFKA_BOOTSTRAP_SERVERS"
        )
    # In a thread of its own, because the caller may be running an event loop.
    with ThreadPoolExecutor(1) as thread:
        brokers = thread.submit(lambda: asyncio.run(_brokers(bootstrap_servers))).result()
    if not brokers:
        raise KafkaUnavailableError(f"Kafka at {bootstrap_servers} has no broker yet", hint="See its log")


async def _brokers(bootstrap_servers: str) -> int:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=_PING_TIMEOUT_MS)
    try:
        await client.start()
        cluster = await client.describe_cluster()
    except (KafkaError, OSError) as error:
        raise KafkaUnavailableError(
            f"Kafka does not answer at {bootstrap_servers}: {error}", hint="See its log"
        ) from None
    finally:
        await client.close()
    return len(cluster["brokers"])


class KafkaServer(Server):
    """One Kafka node. Topics are not made by themselves: a client creates them.

    It speaks without TLS or password at `bootstrap_servers`, on loopback alone; with `security` also at the addresses
    of that.
    """

    name: ClassVar[str] = "kafka"

    def __init__(self, folder: Path, security: KafkaSecurity | None = None) -> None:
        super().__init__(folder)
        self.security = security
        self._port, self._controller_port = ReservedPort(), ReservedPort()

    @property
    def bootstrap_servers(self) -> str:
        """Its plain listener as `host:port`."""
        return self._port.address

    @property
    def address(self) -> str:
        """The same as `bootstrap_servers`."""
        return self.bootstrap_servers

    def install(self, report: Report = print) -> None:
        """Fetch the jars."""
        java_kit(report)
        _jars(report)

    def configure(self) -> None:
        """Write server.properties, and format the data folder the first time."""
        logs = self.folder / "data"
        logs.mkdir(exist_ok=True)
        write_private(self._properties, self._settings(logs))
        if self.security:
            self.security.write_stores(self.folder)
        if not (logs / "meta.properties").exists():
            self._format(logs)

    def command(self) -> Command:
        """Kafka's own main class."""
        return Command((*_java("kafka.Kafka"), str(self._properties)))

    def ping(self) -> None:
        """See `stack.kafka.ping`."""
        ping(self.bootstrap_servers)

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _settings(self, logs: Path) -> str:
        addresses = {"PLAINTEXT": self.bootstrap_servers, "CONTROLLER": self._controller_port.address}
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
        if self.security:
            addresses |= self.security.addresses
            protocols |= LISTENERS
        settings = PROPERTIES.format(
            controller=self._controller_port.address,
            listeners=",".join(f"{name}://{address}" for name, address in addresses.items()),
            protocols=",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            logs=logs,
        )
        return settings + (self.security.properties(self.folder) if self.security else "")

    def _format(self, logs: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # One argument, because one id in 64 begins with a dash.
        arguments = [f"--cluster-id={cluster}", "-c", str(self._properties)]
        arguments += self.security.format_arguments() if self.security else []
        # In a file, because everyone on the machine can read a process's arguments, and these may hold passwords.
        file = self.folder / "format-arguments"
        write_private(file, "\n".join(arguments))
        try:
            run_tool(
                [*_java("kafka.tools.StorageTool"), "format", f"@{file}"],
                what="formatting Kafka's data folder",
                hint=f"See {logs}",
            )
        finally:
            file.unlink()


def _java(main_class: str) -> tuple[str, ...]:
    return (java_kit().java, *_JVM, "-cp", f"{_jars()}/*", main_class)


def _jars(report: Report = print) -> Path:
    note = "fetching Apache Kafka 4.1 with Maven (43 MB, usually 10 to 30 s)"
    return maven_jars("kafka", POM, report=report, note=note)
