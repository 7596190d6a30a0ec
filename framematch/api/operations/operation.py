"""What an operation is: a piece of work that takes longer than a request, and what became of it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, get_args

import msgspec

from framematch.catalog.mongo import Document

Kind = Literal["import", "export", "build", "calibrate", "purge"]
State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
ENDED: Final[tuple[State, ...]] = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Progress:
    """How far it is: `done` of `total` units. `rate` is in units a second; both are None while they are not known."""

    done: int = 0
    total: int = 0
    unit: str = ""
    rate: float | None = None
    rest_s: float | None = None


@dataclass(frozen=True)
class OperationError:
    """Why it failed, as a problem says it: status, a short, stable code, what is wrong, and what to do."""

    status: int
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Operation:
    """An operation as its document says. `attempts` counts how often it was started."""

    id: str
    kind: Kind
    state: State
    created_at: datetime
    created_by: str
    parameters: dict[str, Any] = field(default_factory=dict)
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    cancel_requested: bool = False
    progress: Progress = Progress()
    error: OperationError | None = None
    result: dict[str, Any] | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in ENDED


def to_operation(document: Document) -> Operation:
    """The operation in a document.

    Raises:
        msgspec.ValidationError: it is none of ours.
    """
    return msgspec.convert({**document, "id": document["_id"]}, Operation)


def to_document(operation: Operation) -> Document:
    """The document of an operation."""
    fields: Document = msgspec.to_builtins(operation, builtin_types=(datetime,))
    fields["_id"] = fields.pop("id")
    return fields
