"""Timestamps: microseconds since the epoch in memory, RFC 3339 in UTC in messages."""

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from framematch.core.units import NS_PER_US, US_PER_S

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WITHOUT_ZONE = _EPOCH.replace(tzinfo=None)
_HOUR, _MINUTE = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]"
_RFC3339 = re.compile(
    rf"(?P<minute>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[Tt ]{_HOUR}:{_MINUTE}):(?P<second>{_MINUTE}|60)"
    rf"(?P<rest>(?:\.[0-9]+)?(?:[Zz]|[+-]{_HOUR}:{_MINUTE}))"
)
# An offset can lead outside the range of a datetime in UTC.
_US = timedelta(microseconds=1)
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _US
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _US


def now_us() -> int:
    """The wall clock in microseconds since the epoch."""
    return time.time_ns() // NS_PER_US


def to_rfc3339(at_us: int) -> str:
    """Format microseconds since the epoch as `2026-01-31T12:00:00.000001Z`."""
    seconds, rest_us = divmod(at_us, US_PER_S)
    return f"{_to_second(seconds)}.{rest_us:06d}Z"


def from_rfc3339(text: str) -> int:
    """Parse an RFC 3339 time to microseconds since the epoch; further digits are cut off.

    A leap second is the first second of the next month, as in POSIX time.

    Raises:
        ValueError: it is not an RFC 3339 time with an offset, or is outside the years 1 to 9999 in UTC.
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        msg = f"not an RFC 3339 time with an offset: {text[:80]!r}"
        raise ValueError(msg)
    is_leap = found["second"] == "60"
    at = datetime.fromisoformat(f"{found['minute']}:59{found['rest']}".upper() if is_leap else text.upper())
    at_us = (at - _EPOCH) // _US + (US_PER_S if is_leap else 0)
    if not _FIRST_US <= at_us <= _LAST_US:
        msg = f"time before year 1 or after year 9999: {text[:80]!r}"
        raise ValueError(msg)
    if is_leap and not to_rfc3339(at_us)[7:].startswith("-01T00:00:00"):
        msg = f"a leap second that does not end a month of UTC: {text[:80]!r}"
        raise ValueError(msg)
    return at_us


@lru_cache(64)  # times of one moment are formatted together, for every frame
def _to_second(seconds: int) -> str:
    return (_EPOCH_WITHOUT_ZONE + timedelta(seconds=seconds)).isoformat(timespec="seconds")
