"""Times on the wire: microseconds since the epoch inside, RFC 3339 in UTC outside."""

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WITHOUT_ZONE = _EPOCH.replace(tzinfo=None)
# An offset can lead beyond what a datetime in UTC can hold.
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def now_us() -> int:
    """Wall clock, microseconds since the epoch."""
    return time.time_ns() // 1_000


def to_rfc3339(at_us: int) -> str:
    """`2026-01-31T12:00:00.000001Z` for microseconds since the epoch."""
    return (_EPOCH_WITHOUT_ZONE + timedelta(microseconds=at_us)).isoformat(timespec="microseconds") + "Z"


def from_rfc3339(text: str) -> int:
    """Microseconds since the epoch.

    Raises:
        ValueError: not an RFC 3339 time with an offset, or in UTC outside of the years 1 to 9999.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        msg = f"time without an offset: {text!r}"
        raise ValueError(msg)
    at_us = (at - _EPOCH) // timedelta(microseconds=1)
    if not _FIRST_US <= at_us <= _LAST_US:
        msg = f"time before year 1 or after year 9999: {text!r}"
        raise ValueError(msg)
    return at_us
