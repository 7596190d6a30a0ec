"""Offers the local servers of the source checkout where a hint asks for a server's address."""

from importlib.util import find_spec

_ADDRESSES = ("KAFKA_BOOTSTRAP_SERVERS", "MONGODB_URI", "TRITON_URL")
_START = "framematch stack up"


def local_servers_available() -> bool:
    """Whether `framematch stack` works: its code is in the source checkout and not in the wheel."""
    return find_spec("stack") is not None


def with_local_servers(hint: str) -> str:
    """`hint`, with the command that starts local servers when it asks for an address and this installation has it."""
    asks = any(name in hint for name in _ADDRESSES)
    if not asks or _START in hint or not local_servers_available():
        return hint
    return f"{hint}, or start servers on this machine with `{_START}`"
