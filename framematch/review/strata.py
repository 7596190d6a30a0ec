"""What is kept of all decided regions: some of each camera and hour, and of each stratum about as many. No I/O.

Which regions are kept depends on their ids alone, not on the order in which they come, nor on a restart in between:
each has a number that is a digest, and of each stratum those with the smallest numbers are kept.
"""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from framematch.core.events import MatchEvent
from framematch.core.timestamps import from_rfc3339
from framematch.core.units import US_PER_S

Stratum: TypeAlias = Literal["unknown", "ambiguous", "near", "match", "empty"]
"""The decision; a match whose similarity is close to the threshold is `near`. The first ones get the odd places."""
STRATA: Final[tuple[Stratum, ...]] = get_args(Stratum)

_NO_LABEL_TELLS: Final = ("no_content", "quality")  # reasons of decisions that calibrate nothing
_US_PER_MINUTE: Final = 60 * US_PER_S
_US_PER_HOUR: Final = 3_600 * US_PER_S
_KEY_BYTES: Final = 7  # a number that MongoDB and JavaScript's doubles keep apart well enough


@dataclass(frozen=True)
class Offered:
    """A decided region as the selection sees it. `hour` is the number of hours since the epoch."""

    id: str
    camera: str
    hour: int
    stratum: Stratum
    group: str
    key: int


def offered(event: MatchEvent, *, near: float) -> Offered | None:
    """The region of this event, if a label of it would tell something.

    Not a region whose decision was reused from an equal picture, nor one that was compared with no product.
    """
    if event.reused_from is not None or event.score is None or event.reason in _NO_LABEL_TELLS:
        return None
    captured_us = from_rfc3339(event.frame.captured_at)
    stratum, group = _stratum(event, near), group_of(event, captured_us)
    key = int.from_bytes(hashlib.sha256(f"{group}\n{stratum}".encode()).digest()[:_KEY_BYTES])
    return Offered(event.id, event.frame.camera, captured_us // _US_PER_HOUR, stratum, group, key)


def group_of(event: MatchEvent, captured_us: int) -> str:
    """What the event's picture is not independent of: its sighting, or its region during one minute."""
    if event.sighting is not None:
        return event.sighting.id
    region = ",".join(map(str, event.region))
    return f"{event.frame.camera}/{region}/{captured_us // _US_PER_MINUTE}"


def _stratum(event: MatchEvent, near: float) -> Stratum:
    if event.reason == "empty":
        return "empty"
    if event.decision == "match" and event.score is not None and event.score - event.threshold < near:
        return "near"
    return event.decision


class HourSample:
    """The regions that are kept of one camera and hour, at most `size`; one of each group and stratum."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: dict[Stratum, list[tuple[int, str]]] = {name: [] for name in STRATA}

    def offer(self, stratum: Stratum, key: int, region_id: str) -> frozenset[str] | None:
        """Offer a region; returns the ids that are not kept: perhaps its own, perhaps those of others.

        None if it is kept already. What is not kept once would not be kept later either: later regions can only take
        places.
        """
        kept = self._kept[stratum]
        at = bisect_left(kept, key, key=lambda one: one[0])
        if at < len(kept) and kept[at][0] == key:  # the same group
            return None if kept[at][1] == region_id else frozenset([region_id])
        insort(kept, (key, region_id))
        return self._trim()

    def remove(self, stratum: Stratum, key: int) -> None:
        """A region could not be kept: its place is free, also for another of its group."""
        self._kept[stratum] = [one for one in self._kept[stratum] if one[0] != key]

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def _trim(self) -> frozenset[str]:
        shares = fair_shares({name: len(kept) for name, kept in self._kept.items()}, self._size)
        dropped = []
        for name, kept in self._kept.items():
            dropped += [region_id for _key, region_id in kept[shares[name] :]]
            del kept[shares[name] :]
        return frozenset(dropped)


def fair_shares(wanted: Mapping[Stratum, int], places: int) -> dict[Stratum, int]:
    """How many places each stratum gets: in turn one each, until it has what it wants or none are left."""
    shares = dict.fromkeys(STRATA, 0)
    while places > 0 and (hungry := [name for name in STRATA if shares[name] < wanted.get(name, 0)]):
        for name in hungry[:places]:
            shares[name] += 1
        places -= len(hungry)
    return shares


def restored(size: int, kept: Iterable[tuple[Stratum, int, str]]) -> tuple[HourSample, frozenset[str]]:
    """The sample of an hour from what is stored of it, and the ids of what is stored beyond it."""
    sample, dropped = HourSample(size), frozenset[str]()
    for stratum, key, region_id in kept:
        dropped |= sample.offer(stratum, key, region_id) or frozenset()
    return sample, dropped
