"""Finds the key or token in a request's headers, and refuses one in the address, which every proxy logs."""

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote_plus

from framematch.api.access.refusals import key_malformed
from framematch.api.problems import Problem

_BEARER = re.compile(r"bearer +([!-~]+)", re.IGNORECASE)
_VISIBLE = re.compile(r"[!-~]+")
_SECRET_NAMES = frozenset(
    ["access_token", "api_key", "api-key", "apikey", "auth", "authorization", "bearer", "id_token", "jwt", "key",
     "password", "secret", "token", "x-api-key", "x_api_key"]
)  # fmt: skip
# Also with other separators, and cut off: whoever pastes a key pastes it with mistakes.
_LOOKS_SECRET = re.compile(r"fm_[0-9a-zA-Z]{4,}_[0-9A-Za-z]{8,}|eyJ[\w-]{8,}\.[\w-]{8,}\.")


def credential_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key or token that the headers carry, by ASGI's lower-case names; None without one.

    Raises:
        Problem: 400 for two that differ, 401 for what is neither a key nor a token.
    """
    found = set()
    for name, value in headers:
        if name == b"authorization":
            found.add(_bearer(value.decode("latin-1").strip()))
        elif name == b"x-api-key":
            text = value.decode("latin-1").strip()
            if not _VISIBLE.fullmatch(text):
                raise key_malformed("the header X-API-Key has no key")
            found.add(text)
    if len(found) > 1:
        raise Problem(
            400,
            "credentials_conflict",
            "the headers carry two keys or tokens that differ",
            hint="Send one, in 'Authorization: Bearer' or in 'X-API-Key'",
        )
    return found.pop() if found else None


def check_address(path: str, query: bytes) -> None:
    """Refuse a key or token in the address of a request. The message does not repeat it.

    Raises:
        Problem: 400.
    """
    if not query and not looks_secret(path):  # as nearly always
        return
    text = query.decode("latin-1")
    names = {name.strip().lower() for name, _ in parse_qsl(text.replace(";", "&"), keep_blank_values=True)}
    if names & _SECRET_NAMES or looks_secret(text):
        where = "the query string"
    elif looks_secret(path):
        where = "the path"
    else:
        return
    raise Problem(
        400,
        "key_in_address",
        f"{where} contains a key or token, and addresses are logged on their way",
        hint="Send it in the header 'Authorization: Bearer' or 'X-API-Key'. Revoke this one if others may have seen it",
    )


def looks_secret(text: str) -> bool:
    """Whether a key or token seems to stand in this text, also percent-encoded."""
    return any(_LOOKS_SECRET.search(form) for form in (text, unquote_plus(text)))


def _bearer(value: str) -> str:
    found = _BEARER.fullmatch(value)
    if found is None:
        raise key_malformed("the header Authorization is not 'Bearer KEY'")
    return found[1]
