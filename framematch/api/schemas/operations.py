"""Operations, as answers have them."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from framematch.api.operations.operation import Kind, Operation, OperationError, State
from framematch.api.operations.refused_rows import RefusedRow
from framematch.core.redact import redact


class OperationProgress(BaseModel):
    """How far it is."""

    done: int = Field(examples=[5_120])
    total: int = Field(description="0 while it is not known", examples=[20_480])
    unit: str = Field(examples=["bytes", "products", "pictures"])
    rate: float | None = Field(description="units a second", examples=[1_024.0])
    rest_s: float | None = Field(description="the time that it still needs at this rate", examples=[15.0])


class OperationProblem(BaseModel):
    """Why it failed, as a problem (RFC 9457)."""

    type: str = Field(examples=["/problems/catalogue_unusable"])
    title: str = Field(examples=["Conflict"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["the file is empty"])
    hint: str = Field(examples=["Save it as CSV (UTF-8) with a header line, or as JSON lines"])

    @classmethod
    def of(cls, error: OperationError) -> "OperationProblem":
        """The problem of an error."""
        return cls(
            type=f"/problems/{error.code}",
            title=HTTPStatus(error.status).phrase,
            status=error.status,
            detail=error.message,
            hint=error.hint,
        )


class OperationAnswer(BaseModel):
    """A piece of work that takes longer than a request. When it is `done` it has a `response` or an `error`.

    It goes on when the process that runs it, or the API, is restarted: then from its start, which repeats nothing that
    was done. One that was cancelled has neither.
    """

    id: str = Field(examples=["9f1c0a5e2b7d4c53a1e8f60d2b3c4d5e"])
    kind: Kind
    state: State
    done: bool
    created_at: datetime = Field(examples=["2026-01-31T12:00:00Z"])
    created_by: str = Field(description="name of the key or user", examples=["shop"])
    started_at: datetime | None = Field(examples=["2026-01-31T12:00:01Z"])
    ended_at: datetime | None = Field(examples=[None])
    attempts: int = Field(description="how often it was started; more than 1 after a crash", examples=[1])
    cancel_requested: bool
    parameters: dict[str, Any]
    progress: OperationProgress
    response: dict[str, Any] | None
    error: OperationProblem | None

    @classmethod
    def of(cls, operation: Operation) -> "OperationAnswer":
        """The answer for an operation."""
        progress = operation.progress
        return cls(
            id=operation.id,
            kind=operation.kind,
            state=operation.state,
            done=operation.done,
            created_at=operation.created_at,
            created_by=operation.created_by,
            started_at=operation.started_at,
            ended_at=operation.ended_at,
            attempts=operation.attempts,
            cancel_requested=operation.cancel_requested,
            parameters={name: value for name, value in redact(operation.parameters).items() if name != "upload"},
            progress=OperationProgress(
                done=progress.done,
                total=progress.total,
                unit=progress.unit,
                rate=progress.rate,
                rest_s=progress.rest_s,
            ),
            response=operation.result,
            error=None if operation.error is None else OperationProblem.of(operation.error),
        )


class OperationList(BaseModel):
    """A page of operations, the newest first."""

    items: list[OperationAnswer]
    next_page_token: str | None = Field(description="null at the end", examples=["TpZ8fX0sYl9vWjJhb2RlNFsiNDAxMSJd"])


class RefusedRowAnswer(BaseModel):
    """A row of an uploaded file that was not imported. Lines count from 1."""

    line: int = Field(examples=[4])
    last_line: int = Field(examples=[4])
    problem: str = Field(examples=["image not found"])
    reason: str = Field(examples=["image 'kiwi.jpg' not found"])
    hint: str = Field(examples=["Check the names, and the folder (--images)"])

    @classmethod
    def of(cls, row: RefusedRow) -> "RefusedRowAnswer":
        """The answer for a row."""
        return cls(line=row.line, last_line=row.last_line, problem=row.problem, reason=row.reason, hint=row.hint)


class RefusedRowList(BaseModel):
    """A page of refused rows, in the order of the file."""

    items: list[RefusedRowAnswer]
    next_page_token: str | None = Field(description="null at the end", examples=["TpZ8fX0sYl9vWjJhb2RlNFsiNDAxMSJd"])


class ImportQuery(BaseModel):
    """How an uploaded file is read, and what becomes of the rest of the catalogue."""

    model_config = ConfigDict(extra="forbid")

    preset: str | None = Field(None, max_length=100, description="the shop whose table it is; else told by its columns")
    map: list[Annotated[str, Field(max_length=1_000)]] = Field(
        [], max_length=100, description="FIELD=COLUMN: the column that has a field", examples=[["name=Titel"]]
    )
    encoding: str | None = Field(None, max_length=100, description="such as cp1252; else found out")
    decimal: Literal[".", ","] | None = Field(None, description="the decimal sign of prices; else found out")
    locale: str | None = Field(None, max_length=100, description="which texts count, such as de_DE")
    channel: str | None = Field(None, max_length=100, description="which texts and prices count, such as ecommerce")
    strict: bool = Field(False, description="refuse products with a bad picture")
    dry_run: bool = Field(False, description="check everything, but store and download nothing")
    prune: bool = Field(False, description="delete products that the file lacks")
    prune_max: float = Field(0.1, ge=0, le=1, description="delete at most this share of all products")


class ExportBody(BaseModel):
    """What to export."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["jsonl", "csv"] = Field("jsonl", description="`csv` is for spreadsheets")
    category: str | None = Field(None, description="only products of this category")


class PurgeBody(BaseModel):
    """What to delete."""

    model_config = ConfigDict(extra="forbid")

    force: bool = Field(False, description="true says that you mean it; else nothing is deleted")
    category: str | None = Field(None, description="only products of this category")
