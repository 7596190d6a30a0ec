"""What a route asks of whoever calls it. Declared at the route, so the guard and the OpenAPI document say the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from framematch.api.access.principal import Scope
from framematch.core.units import BYTES_PER_MB

_DECLARABLE = ("public", *get_args(Scope))
EXTENSION = "x-framematch-access"
"""The field of an operation in the OpenAPI document."""
SECURITY_SCHEMES: dict[str, Any] = {
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key: `fm_…`."},
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token of the OIDC issuer that the API trusts.",
    },
}


@dataclass(frozen=True)
class Access:
    """What a route asks for. `scope` is None for a public route. `pictures`: it needs a slot for pictures.

    `streamed`: it writes its body away piece by piece, so that only a piece is in memory.
    """

    scope: Scope | None
    body_mb: float = 1.0
    pictures: bool = False
    streamed: bool = False

    @property
    def body_bytes(self) -> int:
        """The maximum size of the request's body."""
        return int(self.body_mb * BYTES_PER_MB)


def access(
    scope: Scope | Literal["public"], *, body_mb: float = 1.0, pictures: bool = False, streamed: bool = False
) -> dict[str, Any]:
    """The `openapi_extra` of a route: `@router.get(…, openapi_extra=access("read"))`.

    `body_mb` is in 1e6 bytes. OpenAPI 3.1 lists the scopes of any kind of key as roles.
    """
    security = [] if scope == "public" else [{name: [scope]} for name in SECURITY_SCHEMES]
    declared = {"scope": scope, "body_mb": body_mb, "pictures": pictures}
    return {EXTENSION: declared | ({"streamed": True} if streamed else {}), "security": security}


def access_of(route: object) -> Access | None:
    """What this route declares; None if it declares nothing, which is an error at the start."""
    extra = getattr(route, "openapi_extra", None)
    declared = extra.get(EXTENSION) if isinstance(extra, Mapping) else None
    match declared:
        case {"scope": scope, "body_mb": body_mb, "pictures": pictures, **rest} if scope in (
            "public",
            *get_args(Scope),
        ):
            return Access(None if scope == "public" else scope, body_mb, pictures, bool(rest.get("streamed")))
    return None
