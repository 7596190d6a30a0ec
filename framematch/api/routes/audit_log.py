"""The audit log: who changed what. For administrators alone."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from framematch.api.access.audit import AuditEntry, entry_of, read_entries
from framematch.api.access.policy import access
from framematch.api.access.principal import Principal
from framematch.api.paging import PAGE_SIZE
from framematch.api.schemas.api_keys import AuditEntryModel, AuditLogPage
from framematch.api.schemas.pages import PageSize, PageToken
from framematch.api.schemas.problem import problems
from framematch.api.services import CurrentPrincipal, CurrentServices
from framematch.catalog.mongo import Document
from framematch.catalog.values import DocumentError, shown
from framematch.core.timestamps import from_rfc3339, to_rfc3339
from framematch.core.units import US_PER_S

log = structlog.get_logger()
router = APIRouter(tags=["access"])


@router.get(
    "/v1/audit_log", summary="Who changed what", openapi_extra=access("admin"), responses=problems(401, 403, 429, 503)
)
async def read_audit_log(
    services: CurrentServices,
    principal: CurrentPrincipal,
    *,
    name: Annotated[str | None, Query(max_length=100, description="of the key, or the token's subject")] = None,
    key_id: Annotated[str | None, Query(pattern="^[0-9a-f]{12}$")] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    page_size: PageSize = PAGE_SIZE,
    page_token: PageToken = None,
) -> AuditLogPage:
    """Changes, and those that were refused for lack of rights, the newest first; a change is here within a second."""
    filters = {"list": "audit_log", "name": name, "key_id": key_id, "since": str(since), "until": str(until)}
    before = None
    if page_token:
        at, entry_id = services.page_tokens.open(page_token, filters)
        before = (datetime.fromtimestamp(from_rfc3339(at) / US_PER_S, UTC), entry_id)
    documents = await read_entries(
        services.database, _query(name, key_id, since, until), before=before, limit=page_size + 1
    )
    token = None
    if len(documents) > page_size and isinstance(at := documents[page_size - 1]["at"], datetime):
        token = services.page_tokens.sign([_text_of(at), str(documents[page_size - 1]["_id"])], filters)
    entries = [entry for entry in map(_readable, documents[:page_size]) if entry and _is_visible(entry, principal)]
    return AuditLogPage(items=[AuditEntryModel.model_validate(asdict(one)) for one in entries], next_page_token=token)


def _query(name: str | None, key_id: str | None, since: datetime | None, until: datetime | None) -> Document:
    query: Document = {}
    if name is not None:
        query["principal"] = name
    if key_id is not None:
        query["key_id"] = key_id
    times = {operator: at for operator, at in (("$gte", since), ("$lt", until)) if at is not None}
    return {**query, "at": times} if times else query


def _readable(document: Document) -> AuditEntry | None:
    try:
        return entry_of(document)
    except DocumentError as error:
        log.warning("audit_entry_unreadable", entry=shown(document.get("_id")), error=str(error))
        return None


def _is_visible(entry: AuditEntry, principal: Principal) -> bool:
    """Entries about a camera that the administrator may not see are left out."""
    camera = entry.parameters.get("camera")
    return camera is None or principal.sees(camera)


def _text_of(at: datetime) -> str:
    return to_rfc3339(round(at.timestamp() * US_PER_S))
