"""API keys: `fm_<id>_<secret>`. The secret has 256 random bits, so its SHA-256 tells nothing about it."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from framematch.api.access.principal import Principal

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_BITS = 256
_SECRET_LENGTH = 43  # 62 ** 43 > 2 ** 256
_ID_BYTES = 6
_KEY = re.compile(r"fm_([0-9a-f]{12})_([0-9A-Za-z]{43})")
_KEY_ID = re.compile(r"[0-9a-f]{12}")
_GLOB = re.compile(r"[A-Za-z0-9._*?\[\]!-]{1,64}")

NAME_MAX = 100
CAMERAS_MAX = 100


class SecretParts(NamedTuple):
    """The two parts of a key that a client has sent."""

    id: str
    secret: str


@dataclass(frozen=True)
class ApiKey:
    """A key as it is stored: who has it and what he may do, and no secret.

    After a rotation the digest before it is valid until `previous_until`.
    """

    id: str
    name: str
    digest: bytes
    scopes: frozenset[str]
    cameras: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    requests_per_minute: int | None = None
    previous_digest: bytes | None = None
    previous_until: datetime | None = None

    def proves(self, secret: str, now: datetime) -> bool:
        """Whether this is the key's secret. It takes as long whether the secret is right or wrong."""
        given = digest_of(secret)
        is_current = hmac.compare_digest(given, self.digest)
        is_previous = hmac.compare_digest(given, self.previous_digest or b"")
        return is_current or (is_previous and self.previous_until is not None and now < self.previous_until)

    def is_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at

    def principal(self) -> Principal:
        """Whoever has this key."""
        return Principal(self.name, "key", self.scopes, self.cameras, self.id, self.requests_per_minute)


def key_fields(key: ApiKey, now: datetime) -> dict[str, Any]:
    """What the API and the command show of a key; it has no secret."""
    state = "revoked" if key.revoked_at else "expired" if key.is_expired(now) else "active"
    return {
        "id": key.id,
        "name": key.name,
        "state": state,
        "scopes": sorted(key.scopes),
        "cameras": list(key.cameras),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
        "requests_per_minute": key.requests_per_minute,
    }


def new_key_id() -> str:
    """An id, which is no secret: it stands in lists, logs and addresses."""
    return secrets.token_hex(_ID_BYTES)


def new_secret() -> str:
    """256 random bits in letters and digits, so that a double click selects the whole key."""
    number = secrets.randbits(_SECRET_BITS)
    digits = []
    for _ in range(_SECRET_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def key_text(key_id: str, secret: str) -> str:
    """The key as its owner gets it, once."""
    return f"fm_{key_id}_{secret}"


def parse_key(text: str) -> SecretParts | None:
    """The parts of a key; None if it is none."""
    found = _KEY.fullmatch(text)
    return SecretParts(found[1], found[2]) if found else None


def is_key_id(text: str) -> bool:
    """Whether this can be the id of a key."""
    return _KEY_ID.fullmatch(text) is not None


def digest_of(secret: str) -> bytes:
    """What is stored of a secret: 32 bytes. Salt and slow hashes protect passwords; nobody guesses 256 bits."""
    return hashlib.sha256(secret.encode()).digest()


def valid_name(name: str) -> str:
    """Return `name` if it can be the name of a key.

    Raises:
        ValueError: it is empty or longer than 100, starts or ends with a space, or has a control character.
    """
    if not name or len(name) > NAME_MAX or not name.isprintable() or name != name.strip():
        msg = f"a name has 1 to {NAME_MAX} printable characters, without spaces around it"
        raise ValueError(msg)
    return name


def valid_cameras(globs: Sequence[str]) -> tuple[str, ...]:
    """Return the globs if each can match a camera's id.

    Raises:
        ValueError: there are more than 100, or one has other characters than ids and globs have.
    """
    if len(globs) > CAMERAS_MAX:
        msg = f"at most {CAMERAS_MAX} cameras; use a glob such as till-*"
        raise ValueError(msg)
    for glob in globs:
        if not _GLOB.fullmatch(glob):
            msg = f"camera {glob[:64]!r}: use 1 to 64 letters, digits, '.', '_', '-', and the globs '*', '?', '[…]'"
            raise ValueError(msg)
    return tuple(dict.fromkeys(globs))
