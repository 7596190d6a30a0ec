"""Asks a model hub which files a repository holds at a commit, and fetches them; a stopped transfer goes on.

`huggingface_hub` gives the addresses, the token, the session and the errors. Its own download functions throw away what
was transferred when they are interrupted, and take large files through a second protocol (Xet) that only the public hub
speaks; so the bytes come by plain HTTP, which every hub and mirror serves, into a file that the next attempt extends.
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

_WORTH_RETRYING = {
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
    """One file of a repository. Large ones have a sha256 (hex), small ones the sha1 of their git blob."""

    path: str
    size_bytes: int
    digest: str
    digest_kind: Literal["sha256", "git-sha1"]


@dataclass(frozen=True)
class RemoteRepository:
    """A repository as it is at one commit."""

    name: str
    commit: str
    files: tuple[RemoteFile, ...]


class HubClient:
    """Reads repositories of models at `endpoint`: the public hub, or what HF_ENDPOINT named when Python started.

    A transfer that breaks goes on after each of `retry_waits_s`, counted anew whenever bytes have come.
    """

    def __init__(self, endpoint: str | None = None, *, retry_waits_s: tuple[float, ...] = (1.0, 2.0, 4.0)) -> None:
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._retry_waits_s = retry_waits_s

    def repository(self, name: str, revision: str) -> RemoteRepository:
        """The repository `name` at what `revision` (a branch, tag or commit) is now.

        Raises:
            UsageError: `name` cannot be a repository's.
            ModelError: there is no such repository or revision, or it may not be read.
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
        """Put `file` at `target`, after the bytes that are there already; `show` takes the bytes that are there now.

        Nothing is checked but the size: digests are the caller's.

        Raises:
            ModelError, UnavailableError: as `repository`; what came stays at `target`.
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
                wait_s = next(waits_s, None) if _worth_retrying(error) else None
                if wait_s is None:
                    failure = hub_error(error, self.endpoint, repository.name, repository.commit)
                    if failure.retriable:
                        failure.hint += ". The same command goes on where it stopped"
                    raise failure from error
                time.sleep(wait_s)
            else:
                break

    def _stream(
        self, repository: RemoteRepository, file: RemoteFile, target: Path, show: Callable[[int], None]
    ) -> None:
        """One request's bytes; returns when the answer ends, or has become longer than the file should be."""
        there = target.stat().st_size
        url = hf_hub_url(repository.name, file.path, revision=repository.commit, endpoint=self.endpoint)
        # Compressed, a range would count other bytes than those on disk.
        headers = {**build_hf_headers(user_agent=_AGENT), "Accept-Encoding": "identity"}
        if there:
            headers["Range"] = f"bytes={there}-"
        # The session drops the token by itself when a redirect leads to another host.
        with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
            hf_raise_for_status(response)
            resumed = response.headers.get("Content-Range", "").startswith(f"bytes {there}-")
            there = there if resumed else 0
            with target.open("ab" if resumed else "wb") as output:
                for chunk in response.iter_bytes():
                    output.write(chunk)
                    there += len(chunk)
                    show(there)
                    if there > file.size_bytes:
                        return

    def _not_a_hub(self) -> ModelError:
        return ModelError(f"{self.endpoint} does not answer as a model hub does", hint="Check HF_ENDPOINT")


def checked_name(name: str) -> str:
    """`name` itself, when a repository can have it.

    Raises:
        UsageError: it cannot; nothing like `../x` comes through.
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


def _worth_retrying(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _WORTH_RETRYING
    return not isinstance(error, OfflineModeIsEnabled)
