"""Tokens of a real issuer: what is accepted, what is refused, and what happens when it rotates keys or goes away."""

import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import ECKey

from framematch.api.access.issuer_keys import MAX_AGE_S, REFETCH_S, IssuerKeys, usable_keys
from framematch.api.access.tokens import TokenVerifier
from framematch.api.problems import Problem
from framematch.core.settings_access import OidcSettings
from tests.integration.issuer import AUDIENCE, Issuer, encoded, new_ed25519_key, new_rsa_key, running_issuer


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Site:
    """An issuer, and a verifier that trusts it."""

    def __init__(self, issuer: Issuer, session: aiohttp.ClientSession) -> None:
        self.issuer = issuer
        self.session = session
        self.clock = Clock()
        self.verifier = self.new_verifier()

    def new_verifier(self, **settings: Any) -> TokenVerifier:
        oidc = OidcSettings.model_validate({"issuer": self.issuer.url, "audience": AUDIENCE, **settings})
        return TokenVerifier(oidc, IssuerKeys(self.issuer.url, self.session, monotonic_s=self.clock))

    async def refusal(self, token: str) -> Problem:
        with pytest.raises(Problem) as found:
            await self.verifier.verify(token)
        return found.value


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running_issuer() as issuer, aiohttp.ClientSession() as session:
        yield Site(issuer, session)


async def test_a_token_names_its_subject_and_gives_the_scopes_of_its_roles(site: Site) -> None:
    principal = await site.verifier.verify(site.issuer.token(scope="openid framematch:match framematch:read profile"))
    assert (principal.name, principal.kind) == ("anna", "oidc")
    assert principal.scopes == {"match", "read"}
    assert principal.sees_all


@pytest.mark.parametrize("new_key", [new_rsa_key, new_ed25519_key, lambda: ECKey.generate_key("P-256")])
async def test_each_accepted_kind_of_key_verifies(site: Site, new_key: Any) -> None:
    site.issuer.rotate("other", new_key())
    assert (await site.verifier.verify(site.issuer.token())).name == "anna"


async def test_the_older_name_of_ed25519_is_accepted(site: Site) -> None:
    site.issuer.rotate("ed", new_ed25519_key())
    token = site.issuer.token()
    _header, claims, _ = token.split(".")
    header = encoded({"alg": "EdDSA", "kid": "ed"})
    key = site.issuer.keys["ed"].private_key
    assert isinstance(key, Ed25519PrivateKey)
    signature = base64.urlsafe_b64encode(key.sign(f"{header}.{claims}".encode())).decode().rstrip("=")
    assert (await site.verifier.verify(f"{header}.{claims}.{signature}")).name == "anna"


@dataclass(frozen=True)
class After:
    """A time so many seconds after the moment of the test, not of its collection."""

    seconds: float

    def time(self) -> float:
        return time.time() + self.seconds


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": After(-61)}, "token_expired"),
        ({"exp": None}, "token_invalid"),
        ({"exp": "tomorrow"}, "token_invalid"),
        ({"exp": True}, "token_invalid"),
        ({"nbf": After(120)}, "token_invalid"),
        ({"iat": After(120)}, "token_invalid"),
        ({"aud": "another-api"}, "token_invalid"),
        ({"aud": ["another-api"]}, "token_invalid"),
        ({"aud": []}, "token_invalid"),
        ({"aud": None}, "token_invalid"),
        ({"aud": {"framematch-api": 1}}, "token_invalid"),
        ({"iss": "https://evil.example"}, "token_invalid"),
        ({"iss": None}, "token_invalid"),
        ({"sub": None}, "token_invalid"),
        ({"sub": 7}, "token_invalid"),
    ],
)
async def test_a_token_that_is_not_for_us_or_not_for_now_is_refused(site: Site, claims: Any, code: str) -> None:
    at_present: dict[str, Any] = {
        name: value.time() if isinstance(value, After) else value for name, value in claims.items()
    }
    problem = await site.refusal(site.issuer.token(**at_present))
    assert (problem.status, problem.code) == (401, code)


async def test_a_token_may_be_for_several_audiences(site: Site) -> None:
    await site.verifier.verify(site.issuer.token(aud=["account", AUDIENCE]))


async def test_clocks_may_differ_by_a_minute(site: Site) -> None:
    now = time.time()
    await site.verifier.verify(site.issuer.token(exp=now - 50, nbf=now + 50))


def unsigned(token: str, **header: Any) -> str:
    return f"{encoded(header)}.{token.split('.')[1]}."


async def test_a_token_without_a_signature_is_refused(site: Site) -> None:
    for algorithm in ("none", "None", "NONE", "", None, 5, ["ES256"], {"ES256": 1}):
        problem = await site.refusal(unsigned(site.issuer.token(), alg=algorithm, kid="first"))
        assert (problem.status, problem.code) == (401, "token_invalid")
    assert (await site.refusal(unsigned(site.issuer.token(), alg="ES256", kid="first"))).status == 401


async def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused(site: Site) -> None:
    site.issuer.rotate("rsa", new_rsa_key())
    assert (await site.refusal(site.issuer.signed_with_public_key())).code == "token_invalid"


async def test_a_key_that_a_token_brings_itself_counts_for_nothing(site: Site) -> None:
    own = ECKey.generate_key("P-256")
    public = own.as_dict(private=False)
    for header in ({"jwk": public}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/x"}):
        forged = site.issuer.sign(own, {"kid": "first", **header})
        assert (await site.refusal(forged)).code == "token_invalid"


async def test_a_token_of_another_kind_is_refused(site: Site) -> None:
    assert (await site.refusal(site.issuer.token(header={"typ": "logout+jwt"}))).code == "token_invalid"
    await site.verifier.verify(site.issuer.token(header={"typ": "at+jwt"}))


@pytest.mark.parametrize(
    "token", ["a.b.c", "..", "e30.e30.", "W10.e30.e30", "eyJhbGciOiJFUzI1NiJ9.e30.e30", "é.b.c", "x" * 20_000 + ".a.b"]
)
async def test_what_is_no_token_is_refused(site: Site, token: str) -> None:
    assert (await site.refusal(token)).status == 401


async def test_an_unknown_role_gives_nothing(site: Site) -> None:
    for scope in ("admin", "framematch:root", "FRAMEMATCH:ADMIN", "", {"framematch:admin": True}, 5, [["admin"]]):
        assert not (await site.verifier.verify(site.issuer.token(scope=scope))).scopes


async def test_roles_and_cameras_are_found_in_nested_claims(site: Site) -> None:
    verifier = site.new_verifier(
        scope_claim="realm_access.roles", role_scopes={"boss": ["admin"]}, cameras_claim="https://shop.example/cameras"
    )
    claims: dict[str, Any] = {"https://shop.example/cameras": "till-* door b/d", "realm_access": {"roles": ["boss"]}}
    principal = await verifier.verify(site.issuer.token(**claims))
    assert principal.scopes == {"admin"}
    assert principal.cameras == ("till-*", "door")


async def test_without_its_claim_of_cameras_a_token_sees_none(site: Site) -> None:
    principal = await site.new_verifier(cameras_claim="cameras").verify(site.issuer.token())
    assert principal.cameras == ()


async def test_a_rotated_key_is_fetched_at_once(site: Site) -> None:
    await site.verifier.verify(site.issuer.token())
    site.clock.now_s += REFETCH_S
    site.issuer.rotate("second")
    await site.verifier.verify(site.issuer.token())
    assert site.issuer.reads == 2


async def test_a_new_key_with_the_old_id_is_fetched_too(site: Site) -> None:
    await site.verifier.verify(site.issuer.token())
    site.clock.now_s += REFETCH_S
    site.issuer.rotate("first")
    await site.verifier.verify(site.issuer.token())


async def test_unknown_keys_make_us_ask_once_a_minute(site: Site) -> None:
    await site.verifier.verify(site.issuer.token())
    site.clock.now_s += REFETCH_S
    for number in range(20):
        await site.refusal(site.issuer.token(header={"kid": f"made up {number}"}))
    assert site.issuer.reads == 2


async def test_keys_are_kept_while_the_issuer_is_away(site: Site) -> None:
    await site.verifier.verify(site.issuer.token())
    site.issuer.is_away = True
    site.clock.now_s += MAX_AGE_S - 1
    await site.verifier.verify(site.issuer.token())
    assert (await site.refusal(site.issuer.token(header={"kid": "unknown"}))).status == 401


async def test_keys_that_the_issuer_may_have_withdrawn_long_ago_are_not_used(site: Site) -> None:
    await site.verifier.verify(site.issuer.token())
    site.issuer.is_away = True
    site.clock.now_s += MAX_AGE_S
    assert (await site.refusal(site.issuer.token())).status == 503


async def test_without_any_key_the_api_says_that_it_cannot_check_and_recovers(site: Site) -> None:
    site.issuer.is_away = True
    problem = await site.refusal(site.issuer.token())
    assert (problem.status, problem.headers["Retry-After"]) == (503, "5")
    site.issuer.is_away = False
    site.clock.now_s += 5
    await site.verifier.verify(site.issuer.token())


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example"},
        {"jwks_uri": "http://keys.example/"},
        {"jwks_uri": None},
        {"jwks_uri": "file:///"},
    ],
)
async def test_a_discovery_document_that_leads_elsewhere_is_not_followed(site: Site, discovery: Any) -> None:
    site.issuer.discovery = discovery
    assert (await site.refusal(site.issuer.token())).status == 503
    assert site.issuer.reads == 0


async def test_one_key_that_cannot_be_used_does_not_spoil_the_others(site: Site) -> None:
    site.issuer.extra_keys = [
        None,
        "x",
        {},
        {"kty": "RSA"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "EC", "crv": "P-1"},
    ]
    await site.verifier.verify(site.issuer.token())


def test_weak_keys_and_keys_for_encryption_are_left_out() -> None:
    weak = {**new_weak_key(), "kid": "weak"}
    for_encryption = {**ECKey.generate_key("P-256").as_dict(private=False), "use": "enc"}
    assert usable_keys([weak, for_encryption]) == []


def new_weak_key() -> dict[str, Any]:
    with pytest.warns(UserWarning, match="2048"):
        return dict(new_rsa_key(1024).as_dict(private=False))
