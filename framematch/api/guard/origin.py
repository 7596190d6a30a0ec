"""Which hosts requests may be sent to, and which pages may send them: browsers send what any page tells them to."""

from collections.abc import Sequence
from typing import Any

from starlette.datastructures import Headers

from framematch.api.problems import Problem
from framematch.core.settings_access import is_loopback

SAFE_METHODS = frozenset(["GET", "HEAD", "OPTIONS"])


class HostCheck:
    """Refuses requests for hosts that are not ours: so a name that leads here does not make a page ours.

    `hosts` are names without ports, with `*.` for all names below one. Without any, all are ours; or, with
    `loopback_only`, those of this machine.
    """

    def __init__(self, hosts: Sequence[str], *, loopback_only: bool) -> None:
        self._hosts = [host.lower() for host in hosts]
        self._loopback_only = loopback_only and not hosts

    def check(self, headers: Headers) -> None:
        """Check the header Host.

        Raises:
            Problem: 400.
        """
        hosts = headers.getlist("host")
        if len(hosts) > 1 or not self._is_ours(_without_port(hosts[0] if hosts else "")):
            raise Problem(
                400, "wrong_host", "this API does not serve the host that the request names",
                hint="Use its own name, or add this one to api.allowed_hosts",
            )  # fmt: skip

    def _is_ours(self, host: str) -> bool:
        if self._loopback_only:
            return is_loopback(host) and "/" not in host
        if not self._hosts:
            return True
        return any(host == own or (own.startswith("*.") and host.endswith(own[1:])) for own in self._hosts)


def check_same_site(method: str, headers: Headers, origins: Sequence[str]) -> None:
    """Refuse a change that a page of another site sends, where nobody has to show a key.

    With keys this is not needed: a page has none that the browser would add by itself.

    Raises:
        Problem: 403.
    """
    if method in SAFE_METHODS:
        return
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    own = {f"{scheme}://{headers.get('host', '')}" for scheme in ("http", "https")}
    if site in (None, "same-origin", "none") and (origin is None or origin in own or origin in origins):
        return
    if origin in origins:
        return
    raise Problem(
        403, "cross_site", "a page of another site may not send this",
        hint="Send it from a program, or from a page of this host, or use keys and api.cors_origins",
    )  # fmt: skip


def cors_options(origins: Sequence[str]) -> dict[str, Any]:
    """Arguments of Starlette's CORSMiddleware: pages of these origins may read answers; no cookies are sent."""
    return {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
        "allow_headers": [
            "Authorization", "X-API-Key", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key",
            "Last-Event-ID", "Prefer", "X-Request-ID", "X-Request-Timeout",
        ],
        "expose_headers": [
            "ETag", "Location", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset",
            "X-Request-ID",
        ],
        "max_age": 600,
    }  # fmt: skip


def _without_port(value: str) -> str:
    """The host of `host:port` or `[::1]:port`, in lower case."""
    host, separator, port = value.rpartition(":")
    if separator and port.isdigit():
        return host.lower()
    return value.lower()
