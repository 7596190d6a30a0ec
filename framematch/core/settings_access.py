"""Settings of the API's access: keys, the OIDC issuer, limits, what browsers may do. `ApiSettings` includes them."""

import ipaddress
import re
from typing import Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from framematch.core.settings_section import Section

Scope = Literal["read", "match", "operate", "admin"]

_ROLE_SCOPES: dict[str, tuple[Scope, ...]] = {f"framematch:{scope}": (scope,) for scope in get_args(Scope)}
_ORIGIN = re.compile(r"https?://(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?")
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]")


class OidcSettings(Section):
    """Bearer tokens of an OIDC issuer, beside API keys; without an issuer there are none."""

    issuer: str | None = Field(
        None, description="https:// URL of the issuer, exactly as in the tokens' `iss`; http:// on loopback only"
    )
    audience: str | None = Field(None, description="what the tokens' `aud` must contain")
    scope_claim: str = Field(
        "scope",
        min_length=1,
        description="claim with the scopes or roles, a list or a text with spaces; dots lead into objects: "
        "`realm_access.roles`",
    )
    role_scopes: dict[str, tuple[Scope, ...]] = Field(
        default_factory=lambda: dict(_ROLE_SCOPES),
        description="which scopes each value of the claim gives; other values give none",
    )
    cameras_claim: str | None = Field(
        None, description="claim with camera globs, a list or a text with spaces; not set: every token sees all cameras"
    )

    @field_validator("issuer")
    @classmethod
    def _is_https(cls, value: str | None) -> str | None:
        if value is None:
            return value
        url = urlsplit(value)
        if url.query or url.fragment or "@" in url.netloc:
            raise ValueError("the URL has no user, parameters or fragment")
        if not url.hostname or url.scheme not in ("http", "https"):
            raise ValueError("give an https:// URL")
        if url.scheme == "http" and not is_loopback(url.hostname):
            raise ValueError("give an https:// URL: others on the way could put in keys of their own")
        return value

    @model_validator(mode="after")
    def _has_an_audience(self) -> Self:
        if self.issuer and not self.audience:
            raise ValueError("audience is not set: tokens for any other service of the issuer would be accepted")
        return self


class AccessSettings(Section):
    """Who may call the API; a base of `ApiSettings`."""

    auth: Literal["keys", "none"] = Field(
        "keys", description="none: whoever reaches it may do everything; only on a loopback address"
    )
    oidc: OidcSettings = OidcSettings()
    key_cache_s: float = Field(
        5.0, ge=0.1, le=300, description="a key that was revoked elsewhere is refused after at most this time"
    )
    key_grace_s: float = Field(3600.0, ge=0, description="how long keys stay valid while MongoDB does not answer")
    requests_per_minute: int = Field(
        0, ge=0, description="limit of each key, which may have one of its own; each picture counts; 0: no limit"
    )
    failures_per_minute: int = Field(
        60, ge=0, description="how many unknown keys each client address may try; 0: no limit"
    )
    audit_days: int = Field(365, ge=1, le=36_500, description="how long the audit log is kept")
    trusted_proxies: tuple[str, ...] = Field(
        (), description="addresses or networks of proxies whose `X-Forwarded-For` says who the client is"
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="origins whose pages may read answers, such as https://shop.example; none by default"
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="names that requests may be sent to, such as api.example or *.example; not set: any, if auth "
        "is `keys`, else names of loopback"
    )  # fmt: skip

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                raise ValueError("a proxy is an address or a network, such as 10.0.0.7 or 10.0.0.0/24") from None
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError("an origin is https://HOST or https://HOST:PORT, without a path; there is no *")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not _HOST.fullmatch(host):
                raise ValueError("a host is a name or an address without a port, such as api.example or *.example")
        return value


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`: a loopback address, or the path of a UNIX socket."""
    if host == "localhost" or host.startswith(("/", "./")):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
