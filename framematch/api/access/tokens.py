"""Verifies bearer tokens of an OIDC issuer: signature, issuer, audience, time; and what their roles allow."""

import base64
import binascii
import json
from collections.abc import Callable, Collection
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import BadSignatureError, ExpiredTokenError, JoseError
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from framematch.api.access.issuer_keys import IssuerKeys, IssuerUnavailableError, PublicKey
from framematch.api.access.keys import CAMERAS_MAX, NAME_MAX, valid_cameras
from framematch.api.access.principal import ALL_CAMERAS, Principal, known_scopes
from framematch.api.access.refusals import cannot_check, token_refused
from framematch.core.printable import printable
from framematch.core.settings_access import OidcSettings

KEY_TYPES: Final = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP", "Ed25519": "OKP"}
"""The accepted algorithms, all with public keys, and the type of their keys; EdDSA is the older name of Ed25519."""
LEEWAY_S: Final = 60
_TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
_TOKEN_MAX = 16_384  # characters


class _Algorithms(JWSRegistry):
    """The accepted algorithms. The library warns about EdDSA each time, which is only a question of names."""

    def __init__(self) -> None:
        # Issuers put parameters of their own into the header, which mean nothing here.
        super().__init__(algorithms=list(KEY_TYPES), strict_check_header=False)

    def get_alg(self, name: str) -> Any:  # Any: the library does not export its type
        return self.algorithms[name]  # `_header` has checked the name


class TokenVerifier:
    """Verifies tokens for one audience of one issuer, both of which are set."""

    def __init__(self, settings: OidcSettings, keys: IssuerKeys, now_s: Callable[[], int] | None = None) -> None:
        self._settings = settings
        self._keys = keys
        self._algorithms = _Algorithms()
        self._claims = JWTClaimsRegistry(
            now=now_s,
            leeway=LEEWAY_S,
            iss={"essential": True, "value": settings.issuer or ""},
            aud={"essential": True, "value": settings.audience or ""},
            exp={"essential": True},
            sub={"essential": True},
        )

    async def verify(self, token: str) -> Principal:
        """Whoever the issuer gave this token to.

        Raises:
            Problem: 401 for a token that is not valid for us; 503 if it cannot be checked at present.
        """
        kid, algorithm = _header(token)
        try:
            claims = await self._verified_claims(token, kid, KEY_TYPES[algorithm])
            self._claims.validate(claims)
        except IssuerUnavailableError:
            raise cannot_check("the issuer of tokens does not answer") from None
        except ExpiredTokenError:
            raise token_refused("token_expired", "this token has expired") from None
        except JoseError as error:
            claim = getattr(error, "claim", None)
            what = f"this token has no valid '{claim}'" if claim else "this token is not signed by the issuer"
            raise token_refused("token_invalid", what) from None
        except (ValueError, TypeError):  # what the library did not expect
            raise token_refused("token_invalid", "this token cannot be read") from None
        return self._principal(claims)

    async def _verified_claims(self, token: str, kid: str | None, key_type: str) -> dict[str, Any]:
        """The claims of a token that the issuer has signed. Some issuers give a new key the id of the one before."""
        keys = await self._keys.find(kid, key_type)
        try:
            return self._signed_claims(token, keys)
        except BadSignatureError:
            return self._signed_claims(token, await self._keys.find_rotated(kid, key_type))

    def _signed_claims(self, token: str, keys: Collection[PublicKey]) -> dict[str, Any]:
        for key in keys:
            try:
                return jwt.decode(token, key, registry=self._algorithms).claims
            except BadSignatureError:
                continue
        raise BadSignatureError

    def _principal(self, claims: dict[str, Any]) -> Principal:
        roles = _texts(_claim(claims, self._settings.scope_claim))
        scopes = [scope for role in roles for scope in self._settings.role_scopes.get(role, ())]
        cameras: tuple[str, ...] = ALL_CAMERAS
        if self._settings.cameras_claim is not None:
            cameras = _cameras(_texts(_claim(claims, self._settings.cameras_claim)))
        return Principal(printable(claims["sub"])[:NAME_MAX], "oidc", known_scopes(scopes), cameras)


def _header(token: str) -> tuple[str | None, str]:
    """The id of the key and the algorithm. Nothing else in the header counts, above all no key or address of one.

    Raises:
        Problem: 401.
    """
    unreadable = token_refused("token_invalid", "this token cannot be read", hint="Send it as the issuer gave it")
    if len(token) > _TOKEN_MAX:
        raise unreadable
    part = token.partition(".")[0]
    try:
        header = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise unreadable from None
    if not isinstance(header, dict):
        raise unreadable
    kid, algorithm, kind = header.get("kid"), header.get("alg"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in KEY_TYPES:
        accepted = ", ".join(KEY_TYPES)
        raise token_refused("token_invalid", f"this token is not signed with one of {accepted}")
    if not isinstance(kid, str | None) or not isinstance(kind, str | None):
        raise unreadable
    if (kind if kind is None else kind.lower()) not in _TYPES:
        raise token_refused("token_invalid", "this token is no access token", hint="Send the access token")
    return kid, algorithm


def _claim(claims: dict[str, Any], path: str) -> object:
    """The value of a claim: one with dots in its name, or else one in objects."""
    if path in claims:
        return claims[path]
    value: object = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _texts(value: object) -> list[str]:
    """The words of a text, or the texts of a list; nothing for any other value."""
    if isinstance(value, str):
        return value.split()
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _cameras(globs: list[str]) -> tuple[str, ...]:
    """Those globs that can match a camera."""
    found: list[str] = []
    for glob in globs[:CAMERAS_MAX]:
        try:
            found += valid_cameras([glob])
        except ValueError:
            continue
    return tuple(found)
