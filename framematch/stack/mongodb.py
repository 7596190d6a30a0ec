"""mongo-java-server: a server with MongoDB's wire protocol and an H2 database on disk."""

import os
from pathlib import Path
from typing import Any, ClassVar

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from framematch.core.errors import MongoUnavailableError
from framematch.core.redact import redact_url
from framematch.stack.cache import Report, cached_folder, digest_of, run_tool
from framematch.stack.maven import maven_jars
from framematch.stack.prerequisites import java_kit
from framematch.stack.process import Command
from framematch.stack.server import LOOPBACK, ReservedPort, Server

POM = Path(__file__).with_name("mongodb-pom.xml")
SOURCE = Path(__file__).with_name("MongoServerMain.java")
_PING_TIMEOUT_MS = 2000
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


def ping(uri: str) -> None:
    """List the databases: MongoDB's `ping` command is answered even when the store is closed, after a full disk.

    Raises:
        MongoUnavailableError: there is no answer, or the server cannot read its store.
    """
    client: MongoClient[dict[str, Any]] = MongoClient(uri, serverSelectionTimeoutMS=_PING_TIMEOUT_MS)
    try:
        client.list_database_names()
    except OperationFailure as error:
        raise MongoUnavailableError(
            f"MongoDB at {redact_url(uri)} cannot read its store: {_first_sentence(error)}",
            hint="Check free disk space, then start it again",
        ) from None
    except PyMongoError:
        raise MongoUnavailableError(
            f"MongoDB does not answer at {redact_url(uri)}", hint="Start it, or set MONGODB_URI"
        ) from None
    finally:
        client.close()


def _first_sentence(error: OperationFailure) -> str:
    """The server's message without what the driver adds."""
    details = error.details or {}
    return str(details.get("errmsg", error)).removeprefix("Unknown error: ").rstrip(".")


class MongoServer(Server):
    """The MongoDB-compatible server; it supports neither change streams nor real transactions."""

    name: ClassVar[str] = "mongodb"

    def __init__(self, folder: Path) -> None:
        self._port = ReservedPort()
        super().__init__(folder, f"mongodb://{self._port.address}", [self._port])
        self.uri = self.address
        """The URI for MongoDB clients."""

    def install(self, report: Report = print) -> None:
        """Download the jars and compile the main class."""
        java_kit(report)
        _class_path(report)

    def configure(self) -> None:
        """Create the data folder; everything else is passed as arguments."""
        (self.folder / "data").mkdir(exist_ok=True)

    def command(self) -> Command:
        """The main class with the data file."""
        store = self.folder / "data" / "framematch.mv"
        java = java_kit().java
        main = ("-cp", _class_path(), SOURCE.stem, LOOPBACK, str(self._port.number), str(store))
        return Command((java, *_JVM, *main))

    def ping(self) -> None:
        """See `framematch.stack.mongodb.ping`."""
        ping(self.uri)


def _class_path(report: Report = print) -> str:
    note = "fetching mongo-java-server 1.47 with Maven (7 MB, usually 5 to 20 s)"
    jars = maven_jars("mongodb", POM, report=report, note=note)

    def compile_main(folder: Path) -> None:
        javac = java_kit(report).javac
        run_tool([javac, "--release", "17", "-cp", f"{jars}/*", "-d", folder, SOURCE], what=f"compiling {SOURCE.name}")

    key = digest_of(POM.read_bytes(), SOURCE.read_bytes())
    classes = cached_folder("mongodb-main", key, compile_main, report=report, note="compiling its main class (2 s)")
    return os.pathsep.join((str(classes), f"{jars}/*"))
