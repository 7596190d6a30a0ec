"""Requests and answers about API keys, and the audit log."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from framematch.api.access.keys import valid_cameras, valid_name
from framematch.api.access.principal import Scope

Name = Annotated[str, AfterValidator(valid_name), Field(description="who has the key", examples=["till app"])]
Cameras = Annotated[
    list[str],
    AfterValidator(lambda globs: list(valid_cameras(globs))),
    Field(description="globs of the cameras that it sees; none: no camera", examples=[["till-*"]]),
]
MAX_GRACE_S = 7 * 86_400


class NewApiKey(BaseModel):
    """A key to create."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, description="what it may do", examples=[["match", "read"]])]
    cameras: Cameras = []
    expires_at: Annotated[
        AwareDatetime | None, Field(description="when it ends; null: never", examples=["2027-06-30T00:00:00Z"])
    ] = None
    requests_per_minute: Annotated[
        int | None, Field(ge=0, le=1_000_000, description="its own limit; null: that of the settings; 0: none")
    ] = None


class Rotation(BaseModel):
    """How to rotate a key."""

    model_config = ConfigDict(extra="forbid")

    grace_s: Annotated[
        int, Field(ge=0, le=MAX_GRACE_S, description="how long the secret before stays valid, at most a week")
    ] = 0


class ApiKeyModel(BaseModel):
    """A key, without its secret."""

    id: Annotated[str, Field(examples=["3f9a1c07b2de"])]
    name: Annotated[str, Field(examples=["till app"])]
    state: Annotated[Literal["active", "expired", "revoked"], Field(description="whether it is valid now")]
    scopes: list[Scope]
    cameras: Annotated[list[str], Field(examples=[["till-*"]])]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: Annotated[datetime | None, Field(description="to the minute; null: never")]
    revoked_at: datetime | None
    requests_per_minute: int | None


class CreatedApiKey(ApiKeyModel):
    """A key with its secret, which is shown this once."""

    key: Annotated[str, Field(description="keep it: nobody can read it again", examples=["fm_3f9a1c07b2de_…"])]


class ApiKeyList(BaseModel):
    """A page of keys."""

    items: list[ApiKeyModel]
    next_page_token: str | None = None


class AuditEntryModel(BaseModel):
    """A change, or one that was refused with 403."""

    id: Annotated[str, Field(examples=["692c4f0e9d1b2a3c4d5e6f70"])]
    at: datetime
    principal: Annotated[str, Field(description="the name of the key, or the token's subject", examples=["till app"])]
    kind: Annotated[str, Field(description="key, oidc or anonymous", examples=["key"])]
    key_id: Annotated[str | None, Field(examples=["3f9a1c07b2de"])]
    client: Annotated[str, Field(description="the client's address", examples=["10.0.0.7"])]
    method: Annotated[str, Field(examples=["PUT"])]
    route: Annotated[str, Field(examples=["/v1/products/{product}"])]
    parameters: dict[str, str]
    status: int
    request_id: Annotated[str, Field(examples=["9f1c0a5e2b7d4c53a1e8f60d2b3c4d5e"])]


class AuditLogPage(BaseModel):
    """A page of the audit log."""

    items: list[AuditEntryModel]
    next_page_token: str | None = None
