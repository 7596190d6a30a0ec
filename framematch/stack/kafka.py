"""Apache Kafka as a single KRaft node: broker and controller in one Java process."""

import asyncio
import base64
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from framematch.core.errors import FramematchError, KafkaUnavailableError
from framematch.core.private_files import write_private
from framematch.stack.cache import Report, cached_folder, digest_of, run_tool
from framematch.stack.kafka_security import LISTENERS, KafkaSecurity
from framematch.stack.maven import maven_jars
from framematch.stack.prerequisites import java_kit
from framematch.stack.process import Command
from framematch.stack.server import ReservedPort, Server, listens

POM = Path(__file__).with_name("kafka-pom.xml")
LOGGING = Path(__file__).with_name("kafka-log4j2.properties")
_PING_TIMEOUT_MS = 2000
_SIGTERM_EXIT_CODE = 143  # of a JVM that has shut down properly
# Only the serial collector and the first compiler: ready in three seconds, and fast enough for one machine's cameras.
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
# Allow session timeouts below the default minimum of 6 s.
group.min.session.timeout.ms=1000
# A killed broker can rejoin only after its old session has expired: 9 s by default.
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=3000
# An idle broker writes nothing: otherwise two records a second.
metadata.max.idle.interval.ms=0
log.cleaner.dedupe.buffer.size=16777216
"""


def ping(bootstrap_servers: str) -> None:
    """Request the cluster's metadata.

    Raises:
        KafkaUnavailableError: there is no answer, or the cluster has no broker.
    """
    if not listens(bootstrap_servers):
        raise KafkaUnavailableError(
            f"nothing listens at {bootstrap_servers}", hint="Start Kafka, or set KAFKA_BOOTSTRAP_SERVERS"
        )
    # In its own thread, because the caller may be running an event loop.
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
    """One Kafka node, which does not create topics automatically.

    It listens without TLS and password at `bootstrap_servers`, only on loopback; with `security` also at the addresses
    of that.
    """

    name: ClassVar[str] = "kafka"

    def __init__(self, folder: Path, security: KafkaSecurity | None = None) -> None:
        self._port, self._controller_port = ReservedPort(), ReservedPort()
        super().__init__(folder, self._port.address, [self._port, self._controller_port])
        self.bootstrap_servers = self.address
        """The plaintext listener as `host:port`."""
        self.controller = self._controller_port.address
        """The controller's address as `host:port`."""
        self.security = security
        self._properties = self.folder / "server.properties"
        self.cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")

    def install(self, report: Report = print) -> None:
        """Download the jars, and create the archive of their classes."""
        java_kit(report)
        _jars(report)
        self._class_sharing(report)

    def configure(self) -> None:
        """Write server.properties, and format a new data folder."""
        logs = self.folder / "data"
        logs.mkdir(exist_ok=True)
        write_private(self._properties, self._settings(logs).encode())
        if self.security:
            self.security.write_stores(self.folder)
        if not (logs / "meta.properties").exists():
            self._format(logs)

    def command(self) -> Command:
        """Kafka's own main class."""
        return Command((*_java("kafka.Kafka", self._class_sharing()), str(self._properties)))

    def ping(self) -> None:
        """See `framematch.stack.kafka.ping`; also checks the secure listeners, which are opened one after the other."""
        ping(self.bootstrap_servers)
        for address in self.security.addresses.values() if self.security else ():
            if not listens(address):
                raise KafkaUnavailableError(f"Kafka does not listen at {address} yet", hint="See its log")

    def _class_sharing(self, report: Report = print) -> str:
        """The JVM's option for the archive of classes, which halves Kafka's start time."""
        return f"-XX:SharedArchiveFile={_class_archive(report)}"

    def _settings(self, logs: Path) -> str:
        addresses = {"PLAINTEXT": self.bootstrap_servers, "CONTROLLER": self.controller}
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
        if self.security:
            addresses |= self.security.addresses
            protocols |= LISTENERS
        settings = PROPERTIES.format(
            controller=self.controller,
            listeners=",".join(f"{name}://{address}" for name, address in addresses.items()),
            protocols=",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            logs=logs,
        )
        return settings + (self.security.properties(self.folder) if self.security else "")

    def _format(self, logs: Path) -> None:
        # One argument, because one id in 64 starts with a dash.
        arguments = [f"--cluster-id={self.cluster_id}", "-c", str(self._properties)]
        arguments += self.security.format_arguments() if self.security else []
        # In a file, because all users of the machine can read a process's arguments, and these may contain passwords.
        file = self.folder / "format-arguments"
        write_private(file, "\n".join(arguments).encode())
        try:
            run_tool(
                [*_java("kafka.tools.StorageTool", self._class_sharing()), "format", f"@{file}"],
                what="formatting Kafka's data folder",
                hint=f"See {logs}",
            )
        finally:
            file.unlink()


class _RecordedKafka(KafkaServer):
    """A broker whose JVM writes an archive of its loaded classes when it ends."""

    stop_deadline_s: ClassVar[float] = 60.0  # writing the archive takes long

    def __init__(self, folder: Path, archive: Path) -> None:
        super().__init__(folder)
        self._archive = archive

    def _class_sharing(self, report: Report = print) -> str:  # noqa: ARG002  # nothing to build
        return f"-XX:ArchiveClassesAtExit={self._archive}"


def _java(main_class: str, class_sharing: str) -> tuple[str, ...]:
    return (java_kit().java, *_JVM, class_sharing, "-cp", f"{_jars()}/*", main_class)


def _class_archive(report: Report) -> Path:
    """The archive of Kafka's classes; it fits one build of the JVM, and contains the paths of the cached jars."""
    name = "kafka.jsa"

    def record(folder: Path) -> None:
        broker = _RecordedKafka(folder / "broker", folder / name)
        try:
            broker.start(report)
        finally:
            broker.stop()
        if broker.exit_code != _SIGTERM_EXIT_CODE:  # a partial archive would crash every JVM that reads it
            raise FramematchError(
                "Kafka's JVM did not write the archive of its classes",
                hint="Check free disk space, then run the command again",
            )
        shutil.rmtree(broker.folder)

    key = digest_of(POM.read_bytes(), java_kit().build)
    note = "creating an archive of its classes, for faster starts (usually 5 to 15 s)"
    return cached_folder("kafka-classes", key, record, report=report, note=note) / name


def _jars(report: Report = print) -> Path:
    note = "fetching Apache Kafka 4.1 with Maven (43 MB, usually 10 to 30 s)"
    return maven_jars("kafka", POM, report=report, note=note)
