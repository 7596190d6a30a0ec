"""Operations: those that import, export and purge products, and what became of all of them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from framematch.api.access.policy import access
from framematch.api.access.principal import Principal
from framematch.api.idempotency import IdempotencyKey, derived_id
from framematch.api.operations.exporting import MEDIA_TYPES
from framematch.api.operations.files import OperationFiles
from framematch.api.operations.importing import check_import
from framematch.api.operations.operation import Kind, Operation, State
from framematch.api.operations.refused_rows import read_refused_rows
from framematch.api.operations.store import new_operation_id
from framematch.api.paging import PAGE_SIZE
from framematch.api.problems import Problem
from framematch.api.schemas.operations import (
    ExportBody,
    ImportQuery,
    OperationAnswer,
    OperationList,
    PurgeBody,
    RefusedRowAnswer,
    RefusedRowList,
)
from framematch.api.schemas.pages import PageSize, PageToken
from framematch.api.schemas.problem import problems
from framematch.api.services import CurrentPrincipal, CurrentServices, Services
from framematch.catalog.exporting.export import ExportFormat

router = APIRouter(tags=["operations"])

_IMPORT_MB = 1_000.0
_KINDS = (
    "text/csv",
    "text/tab-separated-values",
    "application/x-ndjson",
    "application/jsonl",
    "application/json",
    "application/xml",
    "application/zip",
    "application/gzip",
    "application/octet-stream",
)
_LOCATION = {"Location": {"description": "of the operation", "schema": {"type": "string"}}}
ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"headers": _LOCATION}}
"""The answer of a route that starts an operation."""
_EXPORTED = {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_REQUEST_BODY = {"required": True, "content": dict.fromkeys(_KINDS, _BINARY)}

OperationId = Annotated[str, Path(max_length=100)]


@router.post(
    "/v1/products:import",
    summary="Import products",
    status_code=202,
    openapi_extra={**access("operate", body_mb=_IMPORT_MB, streamed=True), "requestBody": _REQUEST_BODY},
    responses={**problems(409, 413, 415, 503), **ACCEPTED},
)
async def import_products(
    request: Request,
    *,
    services: CurrentServices,
    principal: CurrentPrincipal,
    response: Response,
    query: Annotated[ImportQuery, Query()],
    idempotency_key: IdempotencyKey = None,
) -> OperationAnswer:
    """Upload a catalogue: what a shop exports, such as CSV or JSON lines, or a ZIP archive with it and its pictures.

    Files are those that `framematch catalog import` takes. In a file without an archive a picture is named by the
    digest of one that is stored already, as `sha256:DIGEST`; an export names all so. Pictures at web addresses are
    downloaded from the hosts that the operator allows (`api.import_hosts`). The rows of a product are merged.
    A product with a row that is invalid is refused, all others are imported: of the rows that were `read`, each is
    `added`, `changed`, `same`, `merged` or `refused`. Processes search the products after the next build.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _KINDS:
        raise Problem(
            415, "unsupported_media_type", "the body is no catalogue file", hint=f"Send it as {', '.join(_KINDS)}"
        )
    wanted = query.model_dump()
    check_import(wanted)
    upload = new_operation_id()
    files = OperationFiles(services.database)
    written = await files.write(upload, "upload", request.stream())
    if not written.bytes:
        await files.delete(upload)
        raise Problem(400, "invalid_request", "the body is empty", hint="Send a catalogue file")
    parameters = {**wanted, "upload": upload, "bytes": written.bytes, "sha256": written.sha256}
    kept = False
    try:
        operation = await start(services, principal, "import", parameters, idempotency_key)
        kept = operation.parameters.get("upload") == upload
    finally:
        if not kept:  # a repetition, or refused
            await files.delete(upload)
    return accepted(operation, response)


@router.post(
    "/v1/products:export",
    summary="Export products",
    status_code=202,
    openapi_extra=access("operate"),
    responses={**problems(409, 503), **ACCEPTED},
)
async def export_products(
    services: CurrentServices,
    principal: CurrentPrincipal,
    response: Response,
    body: ExportBody | None = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationAnswer:
    """Write all products into a file that `:import` takes as it is. Download it at the operation's content."""
    parameters = (body or ExportBody()).model_dump()
    return accepted(await start(services, principal, "export", parameters, idempotency_key), response)


@router.post(
    "/v1/products:purge",
    summary="Delete all products",
    status_code=202,
    openapi_extra=access("operate"),
    responses={**problems(409, 503), **ACCEPTED},
)
async def purge_products(
    body: PurgeBody,
    services: CurrentServices,
    principal: CurrentPrincipal,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> OperationAnswer:
    """Delete all products, or those of a category. Pictures and snapshots are kept.

    Up to 200 products are gone from all searches within seconds; more of them with the next build.
    """
    if not body.force:
        wanted = {} if body.category is None else {"category": body.category}
        count = await services.products.count(**wanted)
        raise Problem(
            400, "force_required", f"this would delete {count} products", hint='Send {"force": true} to delete them'
        )
    parameters = body.model_dump(exclude={"force"})
    return accepted(await start(services, principal, "purge", parameters, idempotency_key), response)


@router.get("/v1/operations", summary="List operations", openapi_extra=access("read"))
async def list_operations(
    services: CurrentServices,
    *,
    page_size: PageSize = PAGE_SIZE,
    page_token: PageToken = None,
    kind: Annotated[Kind | None, Query()] = None,
    state: Annotated[State | None, Query()] = None,
) -> OperationList:
    """Operations, the newest first. Those that have ended are kept for a week (`api.operations_kept_h`)."""
    query = {"operations": 1, "kind": kind, "state": state}
    before = None
    if page_token:
        at, operation_id = services.page_tokens.open(page_token, query)
        before = datetime.fromisoformat(at), operation_id
    found = await services.operations.page(kind=kind, state=state, before=before, limit=page_size + 1)
    token = None
    if len(found) > page_size:
        found.pop()
        token = services.page_tokens.sign([found[-1].created_at.isoformat(), found[-1].id], query)
    return OperationList(items=[OperationAnswer.of(operation) for operation in found], next_page_token=token)


@router.get(
    "/v1/operations/{operation}", summary="Read an operation", openapi_extra=access("read"), responses=problems(404)
)
async def get_operation(operation: OperationId, services: CurrentServices) -> OperationAnswer:
    """What it is doing, or how it ended."""
    return OperationAnswer.of(await _known(services, operation))


@router.post(
    "/v1/operations/{operation}:cancel",
    summary="Cancel an operation",
    openapi_extra=access("operate"),
    responses=problems(404),
)
async def cancel_operation(operation: OperationId, services: CurrentServices) -> OperationAnswer:
    """End it: at once if it waits, else after its present step. What it has done stays. One that has ended stays so."""
    found = await services.operations.request_cancel(operation)
    if found is None:
        raise _unknown(operation)
    return OperationAnswer.of(found)


@router.get(
    "/v1/operations/{operation}/content",
    summary="Download what an export has written",
    openapi_extra=access("read"),
    response_class=Response,
    responses={**problems(404, 409), 200: {"content": _EXPORTED}},
)
async def get_operation_content(operation: OperationId, services: CurrentServices) -> Response:
    """The file of an export that has succeeded."""
    found = await _known(services, operation)
    files = OperationFiles(services.database)
    if found.kind != "export":
        raise Problem(404, "not_found", f"an operation of kind {found.kind} has no content", hint="An export has one")
    if found.state != "succeeded" or not await files.exists(operation, "content"):
        raise Problem(409, "not_ready", f"the export is {found.state}", hint="Wait until it has succeeded")
    result = found.result or {}
    suffix: ExportFormat = "csv" if found.parameters.get("format") == "csv" else "jsonl"
    headers = {
        "Content-Disposition": f'attachment; filename="products-{found.created_at:%Y%m%dT%H%M%SZ}.{suffix}"',
        "Content-Length": str(result.get("bytes", "")),
    }
    return StreamingResponse(_pieces(files, operation), media_type=MEDIA_TYPES[suffix], headers=headers)


@router.get(
    "/v1/operations/{operation}/refused_rows",
    summary="List the rows that an import has refused",
    openapi_extra=access("read"),
    responses=problems(404),
)
async def list_refused_rows(
    operation: OperationId, services: CurrentServices, page_size: PageSize = PAGE_SIZE, page_token: PageToken = None
) -> RefusedRowList:
    """Which rows were not imported, and why, in the order of the file. Empty until the import has ended."""
    await _known(services, operation)
    query = {"refused_rows": operation}
    after = 0 if not page_token else int(services.page_tokens.open(page_token, query)[0])
    rows = await read_refused_rows(services.database, operation, after=after, limit=page_size + 1)
    token = None
    if len(rows) > page_size:
        rows.pop()
        token = services.page_tokens.sign([rows[-1].number], query)
    return RefusedRowList(items=[RefusedRowAnswer.of(row) for row in rows], next_page_token=token)


async def start(
    services: Services, principal: Principal, kind: Kind, parameters: dict[str, Any], idempotency_key: str | None
) -> Operation:
    """Queue an operation, or find the one that was created with the same key.

    Raises:
        Problem: the key was used for another operation (409).
        MongoUnavailableError: MongoDB became unavailable.
    """
    operation_id = "" if idempotency_key is None else derived_id(principal, kind, idempotency_key)
    operation = await services.operations.create(kind, parameters, created_by=principal.name, operation_id=operation_id)
    if _without_upload(operation.parameters) != _without_upload(parameters):
        raise Problem(
            409, "idempotency_conflict", "this Idempotency-Key was used for another request",
            hint="Make a new key for each operation",
        )  # fmt: skip
    services.runner.wake()
    return operation


def accepted(operation: Operation, response: Response) -> OperationAnswer:
    """The answer to a request that has started an operation."""
    response.headers["Location"] = f"/v1/operations/{operation.id}"
    return OperationAnswer.of(operation)


async def _pieces(files: OperationFiles, operation_id: str) -> AsyncGenerator[bytes, None]:
    async with aclosing(files.read(operation_id, "content")) as pieces:
        async for piece in pieces:
            yield piece


def _without_upload(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name != "upload"}


async def _known(services: Services, operation_id: str) -> Operation:
    found = await services.operations.get(operation_id)
    if found is None:
        raise _unknown(operation_id)
    return found


def _unknown(operation_id: str) -> Problem:
    return Problem(404, "not_found", f"there is no operation {operation_id!r}", hint="Operations are kept for a week")
