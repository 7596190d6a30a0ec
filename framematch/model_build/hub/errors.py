"""What a model hub's refusals and failures mean for whoever asked for a model: one line, and what to do.

No URL of a redirect appears in them: those of large files are signed, and good for whoever holds them.
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
    """The error to raise for what `huggingface_hub` or its HTTP client raised while it asked `endpoint` for `repo`."""
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
    """Without a token the hub answers 401 for what is missing, too; `huggingface_hub` knows that of https alone.

    A token that it refuses gets 401 as well, and says so.
    """
    return (
        isinstance(error, HfHubHTTPError)
        and error.response.status_code == HTTPStatus.UNAUTHORIZED
        and "Invalid credentials" not in error.response.headers.get("X-Error-Message", "")
    )


def _status_error(status: int, endpoint: str, repo: str) -> FramematchError:
    said = f"{endpoint} answered {status} for {repo}"
    if status == HTTPStatus.UNAUTHORIZED:
        return ModelError(said, hint=f"The token is not valid any more: {_LOG_IN}, or unset it for public repositories")
    if status == HTTPStatus.FORBIDDEN:
        return ModelError(said, hint="The token may not read this repository: give it that right, or use another")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return UnavailableError(said, hint=f"Wait some minutes; who is logged in may ask more often: {_LOG_IN}")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError(said, hint="The hub has trouble: try again later")
    return ModelError(said, hint="Check the repository's name and HF_ENDPOINT")
