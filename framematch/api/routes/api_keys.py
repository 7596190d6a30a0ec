"""API keys: create, list, rotate, revoke. For administrators alone."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from framematch.api.access.grants import check_may_give
from framematch.api.access.key_store import create_key, find_key, list_keys, revoke_key, rotate_key
from framematch.api.access.keys import ApiKey, key_fields
from framematch.api.access.policy import access
from framematch.api.paging import PAGE_SIZE
from framematch.api.problems import FieldProblem, Problem
from framematch.api.schemas.api_keys import ApiKeyList, ApiKeyModel, CreatedApiKey, NewApiKey, Rotation
from framematch.api.schemas.pages import PageSize, PageToken
from framematch.api.schemas.problem import problems
from framematch.api.services import CurrentPrincipal, CurrentServices

router = APIRouter(tags=["access"])
_ADMIN = access("admin", body_mb=0.05)
_ERRORS = problems(401, 403, 413, 429, 503)

KeyId = Annotated[str, Path(pattern="^[0-9a-f]{12}$", description="the id of a key", examples=["3f9a1c07b2de"])]


@router.get("/v1/api_keys", summary="List API keys", openapi_extra=_ADMIN, responses=_ERRORS)
async def list_api_keys(
    services: CurrentServices,
    page_size: PageSize = PAGE_SIZE,
    page_token: PageToken = None,
) -> ApiKeyList:
    """All keys with what they may do, also those that are expired or revoked; without their secrets."""
    query = {"list": "api_keys"}
    after = str(services.page_tokens.open(page_token, query)[0]) if page_token else None
    keys = await list_keys(services.database, after=after, limit=page_size + 1)
    token = services.page_tokens.sign([keys[page_size - 1].id], query) if len(keys) > page_size else None
    now = datetime.now(UTC)
    return ApiKeyList.model_validate(
        {"items": [key_fields(key, now) for key in keys[:page_size]], "next_page_token": token}
    )


@router.post("/v1/api_keys", summary="Create an API key", status_code=201, openapi_extra=_ADMIN, responses=_ERRORS)
async def create_api_key(
    new: NewApiKey, request: Request, response: Response, services: CurrentServices, principal: CurrentPrincipal
) -> CreatedApiKey:
    """Create a key. The answer is the only place where its secret ever stands."""
    now = datetime.now(UTC)
    if new.expires_at is not None and new.expires_at <= now:
        raise Problem(
            400, "invalid_request", "/expires_at: it is over already", hint="Give a time in the future",
            errors=[FieldProblem("/expires_at", "is over already")],
        )  # fmt: skip
    check_may_give(principal, new.cameras)
    key, text = await create_key(
        services.database,
        name=new.name,
        scopes=new.scopes,
        cameras=new.cameras,
        expires_at=new.expires_at,
        requests_per_minute=new.requests_per_minute,
    )
    request.state.audit = {"key_id": key.id, "scopes": " ".join(sorted(key.scopes))}
    response.headers["Location"] = f"/v1/api_keys/{key.id}"
    return CreatedApiKey.model_validate({**key_fields(key, now), "key": text})


@router.get("/v1/api_keys/{key_id}", summary="Show an API key", openapi_extra=_ADMIN, responses=_ERRORS | problems(404))
async def show_api_key(key_id: KeyId, services: CurrentServices) -> ApiKeyModel:
    """One key, without its secret."""
    key = _existing(await find_key(services.database, key_id))
    return ApiKeyModel.model_validate(key_fields(key, datetime.now(UTC)))


@router.delete(
    "/v1/api_keys/{key_id}", summary="Revoke an API key", status_code=204, openapi_extra=_ADMIN,
    responses=_ERRORS | problems(404),
)  # fmt: skip
async def revoke_api_key(key_id: KeyId, services: CurrentServices) -> None:
    """Revoke a key for ever. This process refuses it at once, others after `api.key_cache_s`. It stays in the list."""
    _existing(await revoke_key(services.database, key_id))
    services.access.keys.forget(key_id)


@router.post(
    "/v1/api_keys/{key_id}:rotate", summary="Give an API key a new secret", openapi_extra=_ADMIN,
    responses=_ERRORS | problems(404, 409),
)  # fmt: skip
async def rotate_api_key(
    key_id: KeyId, rotation: Rotation, services: CurrentServices, principal: CurrentPrincipal
) -> CreatedApiKey:
    """Give a key another secret, with the same rights. The one before stays valid for `grace_s`, to change clients."""
    key = _existing(await find_key(services.database, key_id))
    check_may_give(principal, key.cameras)
    now = datetime.now(UTC)
    rotated = None
    if key.revoked_at is None and not key.is_expired(now):
        rotated = await rotate_key(services.database, key, now + timedelta(seconds=rotation.grace_s))
    if rotated is None:
        raise Problem(
            409, "key_changed", "the key is revoked or expired, or was rotated just now",
            hint="Look at it again; create a new key in place of one that has ended",
        )  # fmt: skip
    services.access.keys.forget(key_id)
    return CreatedApiKey.model_validate({**key_fields(rotated[0], now), "key": rotated[1]})


def _existing(key: ApiKey | None) -> ApiKey:
    if key is None:
        raise Problem(404, "not_found", "there is no API key with this id", hint="GET /v1/api_keys lists all")
    return key
