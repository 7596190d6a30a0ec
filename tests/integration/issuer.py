"""An OIDC issuer on this machine: discovery, keys that rotate, and tokens."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "Ed25519"}
AUDIENCE = "framematch-api"

SigningKey = RSAKey | ECKey | OKPKey


class Issuer:
    """Signs tokens with its newest key. `key_set` is what it publishes; `reads` how often it was asked for it."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, SigningKey] = {}
        self.is_away = False
        self.reads = 0
        self.discovery: dict[str, Any] = {}
        self.extra_keys: list[Any] = []

    def rotate(self, kid: str, key: SigningKey | None = None) -> SigningKey:
        """Sign with another key from now on, and publish this one alone."""
        key = key or ECKey.generate_key("P-256")
        self.keys = {kid: key}
        return key

    @property
    def key_set(self) -> dict[str, Any]:
        """The public keys."""
        own = [{**key.as_dict(private=False), "kid": kid, "use": "sig"} for kid, key in self.keys.items()]
        return {"keys": [*self.extra_keys, *own]}

    def token(self, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A token for our audience, valid for ten minutes; a claim that is None is left out."""
        kid, key = list(self.keys.items())[-1]
        return self.sign(key, {"kid": kid, **(header or {})}, **claims)

    def sign(self, key: SigningKey, header: Mapping[str, Any], **claims: Any) -> str:
        """A token signed with any key."""
        now = int(time.time())
        given = {"iss": self.url, "aud": AUDIENCE, "sub": "anna", "iat": now, "exp": now + 600, **claims}
        return jwt.encode(
            {"alg": ALGORITHMS[key.key_type], **header},
            {name: value for name, value in given.items() if value is not None},
            key,
            algorithms=list(ALGORITHMS.values()),
        )

    def signed_with_public_key(self, **claims: Any) -> str:
        """A token by whoever knows the public key alone, and uses its PEM as a shared secret."""
        kid, key = list(self.keys.items())[-1]
        claims_part = self.token(**claims).split(".")[1]
        signed = f"{encoded({'alg': 'HS256', 'kid': kid})}.{claims_part}"
        signature = hmac.digest(key.as_pem(private=False), signed.encode(), "sha256")
        return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def encoded(part: Mapping[str, Any]) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


@asynccontextmanager
async def running_issuer() -> AsyncIterator[Issuer]:
    """An issuer with one key, inside the context."""
    issuer = Issuer()

    async def discovery(_request: web.Request) -> web.Response:
        if issuer.is_away:
            raise web.HTTPServiceUnavailable
        return web.json_response({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys", **issuer.discovery})

    async def keys(_request: web.Request) -> web.Response:
        issuer.reads += 1
        return web.json_response(issuer.key_set)

    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", discovery)
    app.router.add_get("/keys", keys)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        issuer.rotate("first")
        yield issuer
    finally:
        await runner.cleanup()


def new_rsa_key(bits: int = 2048) -> RSAKey:
    """An RSA key."""
    return RSAKey.generate_key(bits)


def new_ed25519_key() -> OKPKey:
    """An Ed25519 key."""
    return OKPKey.generate_key("Ed25519")
