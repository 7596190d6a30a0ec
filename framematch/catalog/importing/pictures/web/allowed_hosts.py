"""Which web addresses may be asked for pictures: none, but those that the user allows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from yarl import URL

from framematch.catalog.importing.pictures.names import shown_name
from framematch.catalog.importing.pictures.web.public_addresses import Address, is_public, to_address, unwrapped
from framematch.core.errors import UsageError
from framematch.core.host_patterns import host_allowed, is_host_pattern

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MAX_PORT: Final = 65_535
_MAX_URL_CHARACTERS: Final = 8_000
_VALID_URL: Final = re.compile(r"(?:[!#$&-;=?-\[\]_a-z~]|%[0-9A-Fa-f]{2})+")
# A larger network is no statement about private addresses: 0.0.0.0/0 means the internet.
_PRIVATE_PREFIX_AT_LEAST: Final = {4: 8, 6: 7}

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class HostPattern:
    """A host pattern (`framematch.core.host_patterns`) with its port, None for the default ports 80 and 443."""

    host: str
    port: int | None

    def fits_port(self, port: int) -> bool:
        """Whether it allows this port."""
        return port in _DEFAULT_PORTS.values() if self.port is None else port == self.port


class AllowedHosts:
    """The hosts of `patterns`: names, `*.names`, addresses and networks, with `:port` or for the default ports.

    A name never leads to a private address, unless a pattern names that address or its network as well.
    `any_public_host` adds all hosts with public addresses, on the default ports.
    """

    def __init__(self, patterns: Sequence[str] = (), *, any_public_host: bool = False) -> None:
        """Parse the patterns.

        Raises:
            UsageError: one is no host pattern.
        """
        self._patterns = tuple(map(host_pattern, patterns))
        networks = [(pattern, _private_network(pattern.host)) for pattern in self._patterns]
        self._private = [(pattern, network) for pattern, network in networks if network is not None]
        self._any_public_host = any_public_host

    def refusal(self, url: URL) -> str | None:
        """Why the address is not asked, to complete "image X …"; None if it may be.

        What a name leads to is checked when it is resolved (`permits`).
        """
        host, port = url.raw_host, url.port
        if url.scheme not in _DEFAULT_PORTS or not host or port is None:
            return "is at an address that is neither http nor https"
        if url.raw_user is not None or url.raw_password is not None:
            return "has a user name or a password in its address, which is never sent"
        host = host.rstrip(".").lower()
        address = to_address(host)
        if address is None and _is_number(host):
            return "has a number for a host; write the address with four numbers and three dots"
        is_named = self._is_named(host if address is None else str(unwrapped(address)), port)
        if not is_named and not (self._any_public_host and port in _DEFAULT_PORTS.values()):
            return _how_to_allow(url)
        if address is not None and not self.permits(host, port, address):
            return f"is at {host}, which is no public address; allow it with --allow-host {_pattern_for(url)}"
        return None

    def permits(self, host: str, port: int, address: Address) -> bool:
        """Whether a connection to `host` may go to this address."""
        if is_public(address):
            return True
        inner = unwrapped(address)
        return (to_address(host) is not None or self._is_named(host.rstrip("."), port)) and any(
            network.version == inner.version and inner in network and pattern.fits_port(port)
            for pattern, network in self._private
        )

    def _is_named(self, host: str, port: int) -> bool:
        return any(pattern.fits_port(port) and host_allowed(host, [pattern.host]) for pattern in self._patterns)


def host_pattern(text: str) -> HostPattern:
    """Parse `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.

    Raises:
        UsageError: it is neither.
    """
    host, port_text = text.strip(), ""
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port_text = rest.removeprefix(":") if rest else ""
    elif host.count(":") == 1:
        host, _, port_text = host.partition(":")
    port = int(port_text) if port_text.isascii() and port_text.isdigit() else None
    is_port = not port_text if port is None else 0 < port <= _MAX_PORT
    host = _ascii(host)
    if not is_host_pattern(host) or not is_port:
        raise UsageError(
            f"{shown_name(text)!r} is no host to download pictures from",
            hint="Write a name, *.name, an address or a network, such as cdn.example.com or 10.0.0.5:8080",
        )
    return HostPattern(host, port)


def parse_address(name: str) -> URL | None:
    """The URL that a name of a picture is; None if it is too long or no valid one."""
    text = name.strip()
    if len(text) > _MAX_URL_CHARACTERS:
        return None
    try:
        # What is a valid URL is asked for as it is: some hosts sign its very characters.
        url = URL(text, encoded=_VALID_URL.fullmatch(text) is not None)
        return url.with_fragment(None) if url.raw_host and url.port is not None else None
    except ValueError:
        return None


def _ascii(host: str) -> str:
    """The name as DNS has it: xn--mller-kva.example for müller.example."""
    if host.isascii():
        return host.rstrip(".")
    wildcard = "*." if host.startswith("*.") else ""
    try:
        return wildcard + (URL.build(scheme="http", host=host.removeprefix("*.")).raw_host or "")
    except ValueError:
        return ""


def _private_network(host: str) -> Network | None:
    """The network of a pattern, if all of it is private."""
    try:
        network = ip_network(host, strict=False)
    except ValueError:
        return None
    if network.prefixlen < _PRIVATE_PREFIX_AT_LEAST[network.version]:
        return None
    return None if is_public(network[0]) or is_public(network[-1]) else network


def _is_number(host: str) -> bool:
    """Whether programs may take it for an address: 127.1, 2130706433, 0x7f.1."""
    last = host.rpartition(".")[2].lower()
    return last.isdigit() or last.startswith("0x")


def _pattern_for(url: URL) -> str:
    host = url.host or "HOST"
    host = f"[{host}]" if ":" in host else host
    return host if url.port == _DEFAULT_PORTS.get(url.scheme) else f"{host}:{url.port}"


def _how_to_allow(url: URL) -> str:
    return f"is at a web address; allow it with --allow-host {_pattern_for(url)}, or give a folder with --images"
