"""An OIDC issuer on this machine: discovery, keys that rotate, and tokens."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "Ed25519"}
AUDIENCE = "framematch-api"


class Issuer:
    """Signs tokens with its newest key. `key_set` is what it publishes; `reads` how often it was asked for it."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, Key] = {}
        self.is_away = False
        self.reads = 0
        self.discovery: dict[str, Any] = {}
        self.extra_keys: list[Any] = []

    def rotate(self, kid: str, key: Key | None = None) -> Key:
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

    def sign(self, key: Key, header: Mapping[str, Any], **claims: Any) -> str:
        """A token signed with any key."""
        now = int(time.time())
        given = {"iss": self.url, "aud": AUDIENCE, "sub": "anna", "iat": now, "exp": now + 600, **claims}
        return jwt.encode(
            {"alg": ALGORITHMS.get(key.key_type, "HS256"), **header},
            {name: value for name, value in given.items() if value is not None},
            key,
            algorithms=[*ALGORITHMS.values(), "HS256"],
        )


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
