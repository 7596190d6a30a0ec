"""Which frames to decide again: a range of time, given as RFC 3339 times or as durations ago."""

import re
from dataclasses import dataclass

from framematch.core.errors import UsageError
from framematch.core.timestamps import from_rfc3339, to_rfc3339
from framematch.core.units import US_PER_MS, US_PER_S

_DURATION = re.compile(r"(?P<number>[0-9]{1,9}(?:\.[0-9]{1,6})?)(?P<unit>[smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True)
class TimeRange:
    """From `since_us` up to, and without, `until_us`; microseconds since the epoch."""

    since_us: int
    until_us: int

    @property
    def since_ms(self) -> int:
        """The start as Kafka takes it: the first millisecond that can have a record of the range."""
        return self.since_us // US_PER_MS

    def contains_ms(self, timestamp_ms: int) -> bool:
        """Whether a record with this timestamp belongs to the range."""
        return self.since_us <= timestamp_ms * US_PER_MS < self.until_us

    def __str__(self) -> str:
        return f"{to_rfc3339(self.since_us)} to {to_rfc3339(self.until_us)}"


def parse_range(since: str, until: str | None, now_us: int) -> TimeRange:
    """The range that these arguments name; it ends now at the latest. `until` None means now.

    Raises:
        UsageError: an argument is no time, the range is empty or in the future.
    """
    since_us = _parse("--since", since, now_us)
    until_us = now_us if until is None else _parse("--until", until, now_us)
    if since_us >= now_us:
        raise UsageError(
            f"--since {since} is in the future", hint=f"Frames of the past can be replayed; now is {to_rfc3339(now_us)}"
        )
    if until_us <= since_us:
        raise UsageError(
            f"--until {until} is not after --since {since}", hint="A duration is how long ago: --since 20m --until 10m"
        )
    return TimeRange(since_us, min(until_us, now_us))


def _parse(option: str, text: str, now_us: int) -> int:
    if found := _DURATION.fullmatch(text):
        at_us = now_us - round(float(found["number"]) * _UNITS_S[found["unit"]] * US_PER_S)
    else:
        try:
            at_us = from_rfc3339(text)
        except ValueError:
            raise UsageError(
                f"{option} {text[:80]!r} is no time",
                hint="Write a duration ago (90s, 10m, 2h, 1d) or a time with its offset (2026-01-31T12:00:00Z)",
            ) from None
    if at_us < 0:
        raise UsageError(f"{option} {text} is before 1970", hint="Kafka has no older records")
    return at_us
