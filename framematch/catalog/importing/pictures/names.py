"""What a name of a picture is: of a file, a web address, or the digest of a picture that is stored."""

import re
from typing import Final

from framematch.core.redact import redact_url

STORED_PREFIX: Final = "sha256:"
"""Before the digest of a picture that is stored already, in place of a file's name."""

_STORED_NAME = re.compile(rf"{STORED_PREFIX}([0-9a-f]{{64}})")
_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_FILE_ADDRESS = re.compile(r"\s*file://(?:localhost)?(?=/)", re.IGNORECASE)


def stored_digest(name: str) -> str | None:
    """The digest in a name such as `sha256:…`, else None."""
    found = _STORED_NAME.fullmatch(name)
    return found[1] if found else None


def is_address(name: str) -> bool:
    """Whether it starts with a scheme, as `https://` does. `file:///…` is the name of a file."""
    return _ADDRESS.match(name) is not None and _FILE_ADDRESS.match(name) is None


def without_file_scheme(name: str) -> str:
    """The path of `file:///…`; other names stay as they are."""
    return _FILE_ADDRESS.sub("", name)


def shown_name(name: str) -> str:
    """The name for a message: of an address neither the query nor credentials, as both may be secret."""
    if not is_address(name):
        return redact_url(name) if "@" in name else name
    # First the credentials: a password may contain a question mark.
    address, query, _ = redact_url(name.strip()).partition("#")[0].partition("?")
    return f"{address}?…" if query else address
