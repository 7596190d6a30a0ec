"""Downloads a model bundle from a hub: pinned to a commit, resumed where it stopped, every file's digest checked."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from framematch.core.errors import ModelError
from framematch.model_build.hub.client import COMMIT, HubClient, RemoteFile, RemoteRepository, checked_name
from framematch.model_build.hub.files import ONNX_EXPORTS, bundle_files
from framematch.model_build.hub.store import HubStore, git_sha1_of, sha256_of

NEWEST = "main"
_SPACE_HINT = "Make room, or set FRAMEMATCH_CACHE_DIR to a folder that has more"

Progress = Callable[[str, int, int], None]
"""Takes the file that is being fetched, the bytes of all files that are there, and the bytes of all files."""


@dataclass(frozen=True)
class HubBundle:
    """A whole bundle in the folder `path`: `repo` at `commit`, as the hub has it.

    `downloaded` is False when it was on disk before; `pinned` is True when its commit was chosen by an earlier build.
    """

    path: Path
    repo: str
    commit: str
    downloaded: bool
    pinned: bool


def download_bundle(
    repo: str, *, revision: str | None, cache: Path, progress: Progress, client: HubClient | None = None
) -> HubBundle:
    """The bundle of the repository `repo` at `revision`: a branch, a tag or a commit.

    Without a revision it is the commit that was used last, and the newest one only when there is none. A commit that
    is whole on disk is used without asking the hub.

    Raises:
        UsageError: `repo` cannot be a repository's name.
        ModelError: the hub does not have it or does not give it, it is no ONNX export, a file is not what the hub says
            it is, or the disk is full.
        UnavailableError: the hub does not answer, or another process downloads the same; retriable.
    """
    store = HubStore(cache, checked_name(ONNX_EXPORTS.get(repo, repo)))
    pinned = store.pinned if revision is None else None
    known = pinned or (revision if revision is not None and COMMIT.fullmatch(revision) else None)
    commit, downloaded = known, False
    try:
        if commit is None or not store.has(commit):
            commit, downloaded = _fetch(client or HubClient(), store, known or revision or NEWEST, progress)
        store.pin(commit)
    except OSError as error:
        raise ModelError(f"{store.folder} cannot be written: {error.strerror or error}", hint=_SPACE_HINT) from error
    return HubBundle(store.bundle(commit), store.repo, commit, downloaded, pinned=pinned is not None)


def _fetch(client: HubClient, store: HubStore, revision: str, progress: Progress) -> tuple[str, bool]:
    """The commit of `revision`, whole on disk, and whether it had to be downloaded."""
    with store.locked():
        remote = client.repository(store.repo, revision)
        if store.has(remote.commit):
            return remote.commit, False
        _download(client, remote, store, progress)
        return remote.commit, True


def _download(client: HubClient, remote: RemoteRepository, store: HubStore, progress: Progress) -> None:
    """Fetch what is missing of `remote`, check it, and make it a whole bundle."""
    files = bundle_files(remote)
    folder = store.unfinished(remote.commit)
    for file in files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
    there = {file.path: _size(folder / file.path) for file in files}
    whole = sum(file.size_bytes for file in files)
    _check_space(folder, whole - sum(there.values()))
    for file in files:

        def show(bytes_there: int, path: str = file.path) -> None:
            there[path] = bytes_there
            progress(path, sum(there.values()), whole)

        show(there[file.path])
        client.fetch(remote, file, folder / file.path, show)
        _check_digest(folder / file.path, file, remote)
    store.finish(remote.commit, [file.path for file in files])


def _check_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise ModelError(
            f"not enough disk space: {needed_bytes / 1e6:.0f} MB to download, "
            f"{free_bytes / 1e6:.0f} MB free in {folder}",
            hint=_SPACE_HINT,
        )


def _check_digest(path: Path, file: RemoteFile, remote: RemoteRepository) -> None:
    """Compare with what the hub says; a file that differs is deleted, because going on from it cannot help."""
    found = sha256_of(path) if file.digest_kind == "sha256" else git_sha1_of(path)
    if found == file.digest:
        return
    size_bytes = path.stat().st_size
    path.unlink()
    raise ModelError(
        f"{file.path} of {remote.name} came with {size_bytes} bytes and {file.digest_kind} {found[:12]}, "
        f"and the hub says {file.size_bytes} bytes and {file.digest[:12]}",
        hint="Run the command again: it downloads that file anew. A mirror or proxy may be serving another one",
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
