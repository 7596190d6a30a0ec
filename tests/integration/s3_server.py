"""versitygw: a server with S3's interface on a folder, built from its Go module."""

import shutil
from pathlib import Path
from typing import ClassVar

from framematch.core.errors import StorageUnavailableError
from framematch.stack.cache import Report, cached_folder
from framematch.stack.golang import GoModule, build_program
from framematch.stack.process import Command
from framematch.stack.server import ReservedPort, Server, listens

MODULE = GoModule("github.com/versity/versitygw", "v1.8.0", checksum="h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc=")
ACCESS_KEY = "framematch-tests"
SECRET_KEY = "canary-of-the-storage"  # of a server that only the tests can reach


class S3Server(Server):
    """An S3-compatible server; `environment` is what clients need to reach it. A bucket is a folder below `buckets`."""

    name: ClassVar[str] = "s3"

    def __init__(self, folder: Path) -> None:
        self._port = ReservedPort()
        super().__init__(folder, f"http://{self._port.address}", [self._port])
        self.buckets = self.folder / "buckets"
        self.environment = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": self.address,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def install(self, report: Report = print) -> None:
        """Build it, unless it is on PATH or in the cache."""
        _program(report)

    def configure(self) -> None:
        """Create the folder of the buckets."""
        self.buckets.mkdir(exist_ok=True)

    def command(self) -> Command:
        """The server on the folder of the buckets."""
        secrets = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        return Command((_program(), "--port", self._port.address, "--quiet", "posix", str(self.buckets)), secrets)

    def ping(self) -> None:
        """Connect: the tests' first call shows whether it works."""
        if not listens(self._port.address):
            raise StorageUnavailableError("the S3 server does not listen")


def _program(report: Report = print) -> str:
    if found := shutil.which("versitygw"):
        return found

    def build(folder: Path) -> None:
        build_program(MODULE, folder / "versitygw", package="./cmd/versitygw", flags=("-trimpath",), report=report)

    note = f"fetching and building versitygw {MODULE.version} from its Go module (usually 2 minutes)"
    return str(cached_folder("versitygw", MODULE.key, build, report=report, note=note) / "versitygw")
