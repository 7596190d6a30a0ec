"""Translates the errors of a model hub into one line and a hint.

They never contain the URL of a redirect, because those of large files are signed and work for anyone.
"""

from http import HTTPStatus

from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from framematch.core.errors import FramematchError, ModelError, UnavailableError

_LOG_IN = "`hf auth login`, or set HF_TOKEN"
_OFFLINE_HINT = "without a network, copy an export to this machine and give --from DIR"


def hub_error(error: Exception, endpoint: str, repo: str, revision: str) -> FramematchError:
    """The error to raise for `error`, which `huggingface_hub` or its HTTP client raised for `repo` at `endpoint`."""
    if isinstance(error, OfflineModeIsEnabled):
        return ModelError(
            f"{revision!r} of {repo} cannot be looked up: HF_HUB_OFFLINE is set",
            hint=f"Unset it; if the model was downloaded before, leave --revision out; {_OFFLINE_HINT}",
        )
    if isinstance(error, GatedRepoError):
        return ModelError(
            f"{repo} is gated: its owner decides who may download it",
            hint=f"Ask for access on {endpoint}/{repo}, then log in: {_LOG_IN}",
        )
    if isinstance(error, RepositoryNotFoundError) or _may_be_private(error):
        return ModelError(
            f"{endpoint} has no repository {repo}, or it is private", hint=f"Check the name; if private, {_LOG_IN}"
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelError(
            f"{repo} has no revision {revision!r}", hint=f"Give a branch, a tag or a commit of {endpoint}/{repo}"
        )
    if isinstance(error, HfHubHTTPError):
        return _status_error(error.response.status_code, endpoint, repo)
    reason = str(error).rstrip(".") or type(error).__name__
    return UnavailableError(
        f"{endpoint} cannot be reached: {reason}", hint=f"Check the network and HF_ENDPOINT; {_OFFLINE_HINT}"
    )


def _may_be_private(error: Exception) -> bool:
    """Whether a status 401 means a missing or private repository.

    The hub answers so without a token, which `huggingface_hub` recognises for https only. For a token that it refuses
    the hub answers 401 with another message.
    """
    return (
        isinstance(error, HfHubHTTPError)
        and error.response.status_code == HTTPStatus.UNAUTHORIZED
        and "Invalid credentials" not in error.response.headers.get("X-Error-Message", "")
    )


def _status_error(status: int, endpoint: str, repo: str) -> FramematchError:
    message = f"{endpoint} answered {status} for {repo}"
    if status == HTTPStatus.UNAUTHORIZED:
        return ModelError(
            message, hint=f"The token is not valid any more: {_LOG_IN}, or unset it for public repositories"
        )
    if status == HTTPStatus.FORBIDDEN:
        return ModelError(message, hint="The token may not read this repository: give it that right, or use another")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return UnavailableError(message, hint=f"Wait some minutes. With a login the limit is higher: {_LOG_IN}")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError(message, hint="The hub has a problem: try again later")
    return ModelError(message, hint="Check the repository's name and HF_ENDPOINT")
