"""Conditions under which a shadow snapshot may become the active one, such as `changed<=2%,regions>=10000`. Pure.

A condition consists of parts with a comma between them, and all have to hold:

| part            | compares                                                                                       |
|-----------------|------------------------------------------------------------------------------------------------|
| `changed<=2%`   | the upper end of the 95 % interval of a share of regions; also `lost`, `gained`, `replaced` and |
|                 | `unknown` (see `shadow_counts.Change`)                                                         |
| `dropped<=10%`  | the share of regions that were dropped or failed                                               |
| `regions>=5000` | how many regions were compared; also `frames`, `cameras` and `minutes` (camera-minutes)        |

Shares take `<=` and `<`, numbers `>=` and `>`. A share is `2%`, `0.5%` or `0.02`.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from framematch.core.errors import UsageError
from framematch.matching.shadow.counts import CHANGES, Change
from framematch.matching.shadow.report import MIN_MINUTES, ShadowReport

_NUMBERS: Final[Mapping[str, Callable[[ShadowReport], int]]] = {
    "regions": lambda report: report.counts.regions,
    "frames": lambda report: report.counts.frames,
    "cameras": lambda report: len(report.counts.cameras),
    "minutes": lambda report: report.counts.minutes,
}
_SHARES: Final[Mapping[str, Change | None]] = {change: change for change in CHANGES} | {"dropped": None}
_COMPARE: Final = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}
_PART = re.compile(r"\s*([a-z]+)\s*(<=|>=|<|>)\s*([0-9]+(?:\.[0-9]+)?)\s*(%?)\s*", re.ASCII)
_HINT = "Write for example 'changed<=2%' or 'changed<=2%,dropped<=10%,regions>=5000'"


@dataclass(frozen=True)
class Part:
    """One comparison; the limit of a share is from 0 to 1."""

    text: str
    name: str
    comparison: str
    limit: float

    def unmet(self, report: ShadowReport) -> str | None:
        """Why it does not hold, in words; None when it does."""
        if self.name in _NUMBERS:
            found = _NUMBERS[self.name](report)
            return None if self._compare(found) else f"{self.text}: there are {found:,}"
        change = _SHARES[self.name]
        if change is None:
            if not report.offered:
                return f"{self.text}: nothing was compared yet"
            share = report.dropped_share
            return None if self._compare(share) else f"{self.text}: the share is {share:.2%}"
        interval = report.share(change)
        if interval is None:
            minutes = report.counts.minutes
            return f"{self.text}: not enough yet, {minutes} camera-minutes of the {MIN_MINUTES} that are needed"
        if self._compare(interval.high):
            return None
        return f"{self.text}: the share is {interval.share:.2%}, with 95 % confidence at most {interval.high:.2%}"

    def _compare(self, value: float) -> bool:
        return bool(_COMPARE[self.comparison](value, self.limit))


@dataclass(frozen=True)
class Condition:
    """Parts that all have to hold."""

    parts: tuple[Part, ...]

    def holds(self, report: ShadowReport) -> bool:
        """Whether all parts hold. One about a share does not hold while there are too few data."""
        return not self.unmet(report)

    def unmet(self, report: ShadowReport) -> tuple[str, ...]:
        """For each part that does not hold why, in words."""
        return tuple(reason for part in self.parts if (reason := part.unmet(report)) is not None)


def parse_condition(text: str) -> Condition:
    """Parse a condition.

    Raises:
        UsageError: it is none.
    """
    return Condition(tuple(_parse_part(part.strip()) for part in text.split(",")))


def _parse_part(text: str) -> Part:
    found = _PART.fullmatch(text)
    if found is None:
        raise UsageError(f"{text[:80]!r} is no condition", hint=_HINT)
    name, comparison, number, percent = found.groups()
    if name in _NUMBERS:
        if not comparison.startswith(">") or percent or "." in number:
            raise UsageError(f"{text!r}: {name} takes >= and a whole number", hint=f"Write {name}>=1000")
        return Part(text, name, comparison, int(number))
    if name not in _SHARES:
        known = ", ".join([*_SHARES, *_NUMBERS])
        raise UsageError(f"{text!r}: there is no {name!r} in a report", hint=f"It has {known}")
    limit = float(number) / 100 if percent else float(number)
    if not comparison.startswith("<") or limit > 1:
        raise UsageError(f"{text!r}: {name} takes <= and a share of at most 100 %", hint=f"Write {name}<=2%")
    return Part(text, name, comparison, limit)
