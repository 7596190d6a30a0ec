"""What went wrong, as the API answers it: problem details (RFC 9457), made of the project's errors."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from framematch.core.errors import (
    CatalogError,
    DeadlineExceededError,
    FramematchError,
    ModelError,
    PictureError,
    SnapshotInUseError,
    StaleNamesError,
    StaleProductError,
    UnavailableError,
    UsageError,
)
from framematch.core.redact import redact_url

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2

# The first that fits counts.
_KINDS: Final[tuple[tuple[type[FramematchError], HTTPStatus, str], ...]] = (
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    (DeadlineExceededError, HTTPStatus.GATEWAY_TIMEOUT, "deadline_exceeded"),
    (StaleNamesError, HTTPStatus.CONFLICT, "stale"),
    (StaleProductError, HTTPStatus.CONFLICT, "stale"),
    (SnapshotInUseError, HTTPStatus.CONFLICT, "in_use"),
    (PictureError, HTTPStatus.BAD_REQUEST, "invalid_picture"),
    (UsageError, HTTPStatus.BAD_REQUEST, "invalid_request"),
    (ModelError, HTTPStatus.SERVICE_UNAVAILABLE, "model_unusable"),
    (CatalogError, HTTPStatus.CONFLICT, "catalogue_unusable"),
)


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one part of a request; `pointer` is a JSON pointer into the body, or names a parameter."""

    pointer: str
    detail: str


class Problem(FramematchError):  # noqa: N818  # RFC 9457 calls it so
    """An answer that is an error. `code` is short and stable; docs/api.md says of each what to do.

    `message` and `hint` are public: they contain no secret.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class ProblemAnswer:
    """A problem as it is sent."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def to_problem(error: BaseException) -> Problem:
    """The problem that stands for this error; a bug says nothing but that there is one, its traceback is in the log."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, FramematchError):
        for kind, status, code in _KINDS:
            if isinstance(error, kind):
                headers = {"Retry-After": str(RETRY_AFTER_S)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
                return Problem(status, code, _text(error), hint=redact_url(error.hint), headers=headers)
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "the server failed to handle the request",
        hint="Report it with the request id; the log has the cause",
    )


def problem_fields(problem: Problem, request_id: str) -> dict[str, Any]:
    """The members of a problem's document."""
    fields: dict[str, Any] = {
        "type": f"/problems/{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.message,
        "hint": problem.hint,
        "request_id": request_id,
    }
    if problem.errors:
        fields["errors"] = [{"pointer": one.pointer, "detail": one.detail} for one in problem.errors]
    return fields


def answer_of(problem: Problem, request_id: str) -> ProblemAnswer:
    """The problem as JSON, with its headers."""
    body = json.dumps(problem_fields(problem, request_id), ensure_ascii=False).encode("utf-8", "backslashreplace")
    return ProblemAnswer(problem.status, body, {"Content-Type": MEDIA_TYPE, **problem.headers})


def _text(error: FramematchError) -> str:
    text = redact_url(error.message)
    return f"the picture {text}" if isinstance(error, PictureError) else text
