"""A client for a model hub: lists a repository's files at a commit, and downloads them with resume.

`huggingface_hub` supplies addresses, the token, the session and the errors. Its download functions lose the transferred
bytes when they are interrupted, and fetch large files by a second protocol (Xet) that only the public hub supports.
Therefore files come by plain HTTP, which every hub and mirror supports, and the next attempt appends to the file.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from huggingface_hub import HfApi, constants, get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.errors import HTTPError as TransportError  # type: ignore[attr-defined]  # its HTTP client's base
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import build_hf_headers, validate_repo_id  # type: ignore[attr-defined]  # loaded lazily

from framematch.core.errors import ModelError, UsageError
from framematch.model_build.hub.errors import hub_error

_RETRIABLE_STATUSES = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


COMMIT = re.compile(r"[0-9a-f]{40}")
_AGENT = f"framematch/{version('framematch')}"


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository. `digest` is the sha256 (hex) of large files, and the git blob's sha1 of small ones."""

    path: str
    size_bytes: int
    digest: str
    digest_kind: Literal["sha256", "git-sha1"]


@dataclass(frozen=True)
class RemoteRepository:
    """A repository at one commit."""

    name: str
    commit: str
    files: tuple[RemoteFile, ...]


class HubClient:
    """Reads model repositories at `endpoint`, by default the public hub or HF_ENDPOINT (read at import).

    An interrupted transfer is retried after each of `retry_waits_s`. The count starts again when bytes have arrived.
    """

    def __init__(self, endpoint: str | None = None, *, retry_waits_s: tuple[float, ...] = (1.0, 2.0, 4.0)) -> None:
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._retry_waits_s = retry_waits_s

    def repository(self, name: str, revision: str) -> RemoteRepository:
        """The repository `name` at the current commit of `revision` (a branch, tag or commit).

        Raises:
            UsageError: `name` is not a valid name of a repository.
            ModelError: there is no such repository or revision, or access is denied.
            UnavailableError: the hub does not answer in time; retriable.
        """
        checked_name(name)
        api = HfApi(endpoint=self.endpoint, user_agent=_AGENT)
        try:
            info = api.model_info(name, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        except (OfflineModeIsEnabled, TransportError) as error:
            raise hub_error(error, self.endpoint, name, revision) from error
        except (ValueError, KeyError, TypeError) as error:
            raise self._not_a_hub() from error
        if info.siblings is None or not COMMIT.fullmatch(info.sha or ""):
            raise self._not_a_hub()
        return RemoteRepository(name, str(info.sha), tuple(_remote_file(sibling) for sibling in info.siblings))

    def fetch(self, repository: RemoteRepository, file: RemoteFile, target: Path, show: Callable[[int], None]) -> None:
        """Download `file` to `target`, appending to the bytes that it has; `show` gets the bytes on disk.

        Only the size is checked; the caller checks the digest.

        Raises:
            ModelError, UnavailableError: as `repository`; the transferred bytes stay in `target`.
            OSError: `target` cannot be written.
        """
        target.touch()
        waits_s = iter(self._retry_waits_s)
        while (before := target.stat().st_size) < file.size_bytes:
            try:
                self._stream(repository, file, target, show)
            except (OfflineModeIsEnabled, TransportError) as error:
                if target.stat().st_size > before:
                    waits_s = iter(self._retry_waits_s)
                wait_s = next(waits_s, None) if _is_retriable(error) else None
                if wait_s is None:
                    failure = hub_error(error, self.endpoint, repository.name, repository.commit)
                    if failure.retriable:
                        failure.hint += ". Run the same command again to resume the download"
                    raise failure from error
                time.sleep(wait_s)
            else:
                break

    def _stream(
        self, repository: RemoteRepository, file: RemoteFile, target: Path, show: Callable[[int], None]
    ) -> None:
        """Write one response; returns at its end, or when it has more bytes than the file."""
        on_disk = target.stat().st_size
        url = hf_hub_url(repository.name, file.path, revision=repository.commit, endpoint=self.endpoint)
        # A range of a compressed response would not count the bytes on disk.
        headers = {**build_hf_headers(user_agent=_AGENT), "Accept-Encoding": "identity"}
        if on_disk:
            headers["Range"] = f"bytes={on_disk}-"
        # The session drops the token when it is redirected to another host.
        with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
            hf_raise_for_status(response)
            resumed = response.headers.get("Content-Range", "").startswith(f"bytes {on_disk}-")
            on_disk = on_disk if resumed else 0
            with target.open("ab" if resumed else "wb") as output:
                for chunk in response.iter_bytes():
                    output.write(chunk)
                    on_disk += len(chunk)
                    show(on_disk)
                    if on_disk > file.size_bytes:
                        return

    def _not_a_hub(self) -> ModelError:
        return ModelError(f"{self.endpoint} does not answer like a model hub", hint="Check HF_ENDPOINT")


def checked_name(name: str) -> str:
    """Return `name` if it is a valid name of a repository; a name like `../x` is not.

    Raises:
        UsageError: it is not valid.
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UsageError(
            f"{name!r} cannot be the name of a hub's repository",
            hint="Give owner/name, for instance openai/clip-vit-base-patch32",
        ) from error
    return name


def _remote_file(sibling: RepoSibling) -> RemoteFile:
    if sibling.lfs is not None:
        return RemoteFile(sibling.rfilename, sibling.lfs.size, sibling.lfs.sha256, "sha256")
    return RemoteFile(sibling.rfilename, sibling.size or 0, sibling.blob_id or "", "git-sha1")


def _is_retriable(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _RETRIABLE_STATUSES
    return not isinstance(error, OfflineModeIsEnabled)
