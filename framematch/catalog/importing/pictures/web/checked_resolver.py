"""Resolves names for the HTTP client, which connects to nothing else than what comes out here."""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from framematch.catalog.importing.pictures.web.allowed_hosts import AllowedHosts
from framematch.catalog.importing.pictures.web.public_addresses import to_address


class PrivateAddressError(OSError):
    """A name leads to private addresses alone."""


class CheckedResolver(AbstractResolver):
    """Drops the addresses that a name must not lead to.

    The client connects to these very addresses, so a name that changes between a check and the connection gains
    nothing. An address in a URL is not resolved: `AllowedHosts.refusal` checks it.
    """

    def __init__(self, allowed: AllowedHosts, inner: AbstractResolver | None = None) -> None:
        self._allowed = allowed
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The permitted addresses of `host`.

        Raises:
            PrivateAddressError: there are only others.
            OSError: the name cannot be resolved.
        """
        found = await self._inner.resolve(host, port, family)
        permitted = [one for one in found if self._permits(host, port, one["host"])]
        if found and not permitted:
            raise PrivateAddressError(f"{host} leads to no public address")
        return permitted

    def _permits(self, host: str, port: int, text: str) -> bool:
        address = to_address(text)
        return address is not None and self._allowed.permits(host, port, address)

    async def close(self) -> None:
        """Close the inner resolver."""
        await self._inner.close()
