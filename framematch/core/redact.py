"""Takes secrets out of anything that leaves the process: credentials in URLs, and values under telling names."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"

# Greedy up to the last "@" before white space: a password may itself hold "@", ":" or "/".
_URL_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s\"'<>]*@")
_QUERY_SECRET = re.compile(r"(?P<name>[?&](?:\w*(?:password|passwd|pwd|token|secret|key))=)[^&\s\"'<>]+", re.IGNORECASE)
_SECRET_NAME = re.compile(r"password|passwd|secret|token|credential|api_?key", re.IGNORECASE)


def redact_url(text: str) -> str:
    """`text` without the credentials of any URL in it: `rtsp://user:pass@host/1` becomes `rtsp://***@host/1`."""
    if "://" not in text:
        return text
    text = _URL_CREDENTIALS.sub(rf"\g<scheme>{HIDDEN}@", text)
    return _QUERY_SECRET.sub(rf"\g<name>{HIDDEN}", text)


def redact(value: Any, name: str = "") -> Any:
    """A copy of `value` that is safe to log: URLs without credentials, `***` for what has a secret's name."""
    if _SECRET_NAME.search(name) and isinstance(value, str) and value:
        return HIDDEN
    if isinstance(value, str):
        return redact_url(value)
    if isinstance(value, Mapping):
        return {key: redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [redact(item, name) for item in value]
    if isinstance(value, BaseException):
        return redact_url(str(value))
    return value
