"""The downloads from a hub on disk: complete bundles by commit, the pinned commit, and unfinished downloads.

<cache>/hub/<owner>--<name>/pin.json                 the commit to use when no revision is given
<cache>/hub/<owner>--<name>/<commit>/<name>/         a complete bundle, and source.json: its origin and digests
<cache>/hub/<owner>--<name>/<commit>.part/<name>/    an unfinished download; renamed when every file is verified
"""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from framematch.core.errors import ModelError, UnavailableError
from framematch.vision.model_files import decode_json

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """A file of a bundle; `sha256` is in hex."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """source.json: the origin of a bundle's files. Paths are relative to the bundle's folder."""

    repo: str
    commit: str
    files: dict[str, StoredFile]


@dataclass(frozen=True)
class _Pin:
    commit: str


class HubStore:
    """The downloads of one repository below the folder `cache`."""

    def __init__(self, cache: Path, repo: str) -> None:
        self.repo = repo
        self.folder = cache / "hub" / repo.replace("/", "--")
        self._name = repo.rsplit("/", 1)[-1]

    @property
    def pinned(self) -> str | None:
        """The last used commit, or None before the first download."""
        path = self.folder / "pin.json"
        if not path.exists():
            return None
        return decode_json(path, _Pin, hint=f"Delete {self.folder} and download anew").commit

    def pin(self, commit: str) -> None:
        """Use `commit` from now on when no revision is given."""
        if self.pinned == commit:
            return  # the cache may be read-only
        unfinished = self.folder / "pin.json.new"
        unfinished.write_bytes(msgspec.json.encode(_Pin(commit)))
        unfinished.replace(self.folder / "pin.json")

    def bundle(self, commit: str) -> Path:
        """The folder of the complete bundle of `commit`; it may not exist yet."""
        return self.folder / commit / self._name

    def unfinished(self, commit: str) -> Path:
        """The folder of an unfinished download of `commit`."""
        return self.folder / f"{commit}.part" / self._name

    def has(self, commit: str) -> bool:
        """Whether the bundle of `commit` is complete on disk.

        Raises:
            ModelError: its files were changed after the download.
        """
        path = self.bundle(commit)
        if not path.exists():
            return False
        hint = f"Delete {path.parent} and run the command again: it is downloaded anew"
        for name, stored in decode_json(path / "source.json", Source, hint=hint).files.items():
            try:
                same = (path / name).stat().st_size == stored.size_bytes and sha256_of(path / name) == stored.sha256
            except OSError as error:
                raise ModelError(f"{path / name} cannot be read: {error.strerror}", hint=hint) from error
            if not same:
                raise ModelError(f"{path / name} is not what was downloaded", hint=hint)
        return True

    def finish(self, commit: str, names: list[str]) -> None:
        """Turn the unfinished download of `commit`, with the files `names`, into a complete bundle."""
        folder = self.unfinished(commit)
        files = {name: StoredFile((folder / name).stat().st_size, sha256_of(folder / name)) for name in names}
        source = Source(self.repo, commit, files)
        (folder / "source.json").write_bytes(msgspec.json.format(msgspec.json.encode(source), indent=2) + b"\n")
        folder.parent.rename(self.bundle(commit).parent)
        for abandoned in self.folder.glob("*.part"):
            shutil.rmtree(abandoned)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the repository, so that one process at a time downloads it. The lock ends with the process.

        Raises:
            UnavailableError: another process is downloading the repository; retriable.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UnavailableError(
                    f"another process is downloading {self.repo}", hint="Wait for it, then run the command again"
                ) from error
            yield


def sha256_of(path: Path) -> str:
    """Sha256 (hex) of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_sha1_of(path: Path) -> str:
    """The file's id as a git blob: the sha1 (hex) of a header with its length and of its bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
