"""Patterns of hosts: names, names with a wildcard in front, addresses, and networks."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

_NAME = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def is_host_pattern(text: str) -> bool:
    """Whether `text` is such a pattern."""
    return _network(text) is not None or ("/" not in text and _NAME.fullmatch(text) is not None)


def host_allowed(host: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern allows `host`.

    An address must be in one of the networks, and a name be named: it is not resolved, so nobody who can change a name
    in DNS gains anything. Other ways to write an address, such as `127.1`, are names.
    """
    name = host.lower()
    try:
        address = ip_address(name)
    except ValueError:
        return any(_fits(name, pattern.lower()) for pattern in patterns if _network(pattern) is None)
    return any(address in network for pattern in patterns if (network := _network(pattern)) is not None)


def _fits(name: str, pattern: str) -> bool:
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
