"""Downloaded and built programs in the cache folder: created once, atomically, by one process at a time."""

import contextlib
import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from framematch.core.errors import FramematchError
from framematch.core.paths import cache_dir

Report = Callable[[str], None]
_OUTPUT_LINES = 12
_STACK_FRAME = re.compile(r"\s+at ")  # a line of a Java stack trace


def digest_of(*parts: str | bytes) -> str:
    """A short hex digest of everything that a cached folder is built from."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return whole.hexdigest()[:16]


def cached_folder(name: str, key: str, build: Callable[[Path], None], *, report: Report, note: str) -> Path:
    """The folder `NAME-KEY` of the cache; `build` creates its contents when it does not exist yet.

    `build` gets an empty temporary folder, which is renamed when it returns, so an existing folder is complete. Its
    files must not contain the temporary path. A second process waits for the first and uses its result. Before a
    build, `report` gets `note`: what is downloaded, and how long that usually takes.
    """
    folder = cache_dir() / f"{name}-{key}"
    if folder.is_dir():
        return folder
    with locked(
        cache_dir() / f"{name}-{key}.lock",
        waiting=lambda: report(f"{name}: waiting for another process that fetches it"),
    ):
        if folder.is_dir():
            return folder
        report(f"{name}: {note}")
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache_dir()))
        try:
            build(temporary)
            temporary.chmod(0o755)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


@contextlib.contextmanager
def locked(path: Path, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Lock a file exclusively inside the context, or until the process ends; `waiting` is called before a wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def pip_install(requirements: Path, target: Path, *, what: str) -> None:
    """Install locked wheels into `target`, with the pip of a new environment: the running one may have none.

    Raises:
        FramematchError: the download failed.
    """
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=cache_dir()) as environment:
        run_tool([sys.executable, "-m", "venv", environment], what="making an environment with pip")
        install = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        run_tool([Path(environment, "bin", "python"), *install, "--target", target, "-r", requirements], what=what)


def run_tool(
    command: Sequence[str | Path],
    *,
    what: str,
    hint: str = "Check the network connection and free disk space, then run the command again",
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program and return its output.

    Raises:
        FramematchError: it failed; the message names `what` and has the last lines of the output.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if not _STACK_FRAME.match(line)]
        tail = "\n".join(lines[-_OUTPUT_LINES:])
        raise FramematchError(
            f"{what} failed: {Path(command[0]).name} ended with code {done.returncode}\n{tail}", hint=hint
        )
    return done.stdout
