"""Downloads a model bundle from a hub: pinned to a commit, resumable, with verified digests."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from framematch.core.errors import ModelError
from framematch.core.units import BYTES_PER_MB
from framematch.model_build.hub.client import COMMIT, HubClient, RemoteFile, RemoteRepository, checked_name
from framematch.model_build.hub.files import ONNX_EXPORTS, bundle_files
from framematch.model_build.hub.store import HubStore, git_sha1_of, sha256_of

NEWEST = "main"
_SPACE_HINT = "Free some space, or set FRAMEMATCH_CACHE_DIR to a folder with more"

Progress = Callable[[str, int, int], None]
"""Takes the current file, the downloaded bytes of all files, and the total bytes of all files."""


@dataclass(frozen=True)
class HubBundle:
    """A complete bundle in the folder `path`: the repository `repo` at `commit`.

    `downloaded` is False when it was on disk before; `pinned` is True when an earlier build chose the commit.
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

    Without a revision it is the last used commit, or the newest one when there is none. The hub is not asked for a
    commit that is complete on disk.

    Raises:
        UsageError: `repo` is not a valid name of a repository.
        ModelError: the repository does not exist, is not accessible or is not an ONNX export, a digest differs, or the
            disk is full.
        UnavailableError: the hub does not answer, or another process is downloading the repository; retriable.
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
    """Make `revision` complete on disk. Returns its commit, and whether it was downloaded."""
    with store.locked():
        remote = client.repository(store.repo, revision)
        if store.has(remote.commit):
            return remote.commit, False
        _download(client, remote, store, progress)
        return remote.commit, True


def _download(client: HubClient, remote: RemoteRepository, store: HubStore, progress: Progress) -> None:
    """Download what is missing of `remote`, verify it, and make it a complete bundle."""
    files = bundle_files(remote)
    folder = store.unfinished(remote.commit)
    for file in files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
    on_disk = {file.path: _size(folder / file.path) for file in files}
    total = sum(file.size_bytes for file in files)
    _check_space(folder, total - sum(on_disk.values()))
    for file in files:

        def show(size_bytes: int, path: str = file.path) -> None:
            on_disk[path] = size_bytes
            progress(path, sum(on_disk.values()), total)

        show(on_disk[file.path])
        client.fetch(remote, file, folder / file.path, show)
        _check_digest(folder / file.path, file, remote)
    store.finish(remote.commit, [file.path for file in files])


def _check_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise ModelError(
            f"not enough disk space: {needed_bytes / BYTES_PER_MB:.0f} MB to download, "
            f"{free_bytes / BYTES_PER_MB:.0f} MB free in {folder}",
            hint=_SPACE_HINT,
        )


def _check_digest(path: Path, file: RemoteFile, remote: RemoteRepository) -> None:
    """Compare with the hub's digest. A file that differs is deleted, because resuming it would not help."""
    found = sha256_of(path) if file.digest_kind == "sha256" else git_sha1_of(path)
    if found == file.digest:
        return
    size_bytes = path.stat().st_size
    path.unlink()
    raise ModelError(
        f"{file.path} of {remote.name} was received with {size_bytes} bytes and {file.digest_kind} {found[:12]}; "
        f"according to the hub it has {file.size_bytes} bytes and {file.digest[:12]}",
        hint="Run the command again: it downloads that file anew. A mirror or proxy may be serving another file",
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
