"""Limits the unknown keys that a client address tries: each costs a look into MongoDB."""

import ipaddress

from framematch.api.access.refusals import too_many
from framematch.api.access.sliding_window import SlidingWindow

_IPV6_PREFIX = 64  # one client has all addresses of it


class FailureLimit:
    """At most `per_minute` failures of an address, then no more looks; 0: no limit."""

    def __init__(self, per_minute: int, window: SlidingWindow | None = None) -> None:
        self._per_minute = per_minute
        self._window = SlidingWindow() if window is None else window

    def add(self, client: str) -> None:
        """One failed."""
        if self._per_minute:
            self._window.take(owner_of(client), self._per_minute)

    def check(self, client: str) -> None:
        """Refuse if too many have failed.

        Raises:
            Problem: 429.
        """
        if not self._per_minute:
            return
        budget = self._window.look(owner_of(client), self._per_minute)
        if not budget.suffices:
            text = "too many unknown keys came from your address"
            raise too_many("too_many_failures", text, "Check the key, and try again later", budget.wait_s)


def owner_of(client: str) -> str:
    """Whose failures count together: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:  # a UNIX socket, or a name that a proxy gave
        return client
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)
