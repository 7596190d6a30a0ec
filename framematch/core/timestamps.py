"""Timestamps: microseconds since the epoch in memory, RFC 3339 in UTC in messages."""

import time
from datetime import UTC, datetime, timedelta

from framematch.core.units import NS_PER_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WITHOUT_ZONE = _EPOCH.replace(tzinfo=None)
# An offset can lead outside the range of a datetime in UTC.
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def now_us() -> int:
    """The wall clock in microseconds since the epoch."""
    return time.time_ns() // NS_PER_US


def to_rfc3339(at_us: int) -> str:
    """Format microseconds since the epoch as `2026-01-31T12:00:00.000001Z`."""
    return (_EPOCH_WITHOUT_ZONE + timedelta(microseconds=at_us)).isoformat(timespec="microseconds") + "Z"


def from_rfc3339(text: str) -> int:
    """Parse an RFC 3339 time to microseconds since the epoch.

    Raises:
        ValueError: it is not an RFC 3339 time with an offset, or is outside the years 1 to 9999 in UTC.
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
