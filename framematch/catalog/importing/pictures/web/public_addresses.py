"""Which IP addresses are those of public hosts, in whatever form they are written."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_LOW_32_BITS: Final = 0xFFFF_FFFF


def unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to: mapped, 6to4 or NAT64; else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & _LOW_32_BITS)
    return address.ipv4_mapped or address.sixtofour or address


def is_public(address: Address) -> bool:
    """Whether it is global unicast: neither private, loopback, link-local, shared (100.64.0.0/10) nor multicast."""
    address = unwrapped(address)
    if isinstance(address, IPv6Address) and (address not in _GLOBAL_UNICAST or address.teredo is not None):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def to_address(text: str) -> Address | None:
    """The IP address in the host of a URL, without brackets; None if it is a name."""
    try:
        return ip_address(text)
    except ValueError:
        return None
