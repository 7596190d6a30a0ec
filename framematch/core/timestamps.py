"""Times on the wire: microseconds since the epoch inside, RFC 3339 in UTC outside."""

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """Wall clock, microseconds since the epoch."""
    return time.time_ns() // 1_000


def to_rfc3339(at_us: int) -> str:
    """`2026-01-31T12:00:00.000001Z` for microseconds since the epoch."""
    return (_EPOCH + timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_rfc3339(text: str) -> int:
    """Microseconds since the epoch.

    Raises:
        ValueError: not an RFC 3339 time with an offset.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        msg = f"time without an offset: {text!r}"
        raise ValueError(msg)
    return (at - _EPOCH) // timedelta(microseconds=1)
