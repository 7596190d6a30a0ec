"""Compares the decisions of a shadow snapshot with those of the active one, one region after the other. No I/O."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from framematch.core.timestamps import to_rfc3339
from framematch.core.units import US_PER_S
from framematch.matching.decision import Decision
from framematch.matching.shadow.counts import (
    CHANGES,
    MAX_CAMERAS,
    MAX_FLOWS,
    CameraCounts,
    Change,
    ChangeSums,
    Cost,
    Flow,
    ShadowCounts,
    Shift,
    to_table,
)
from framematch.matching.shadow.frequent import FrequentKeys

_US_PER_MINUTE = 60 * US_PER_S


@dataclass(frozen=True)
class ComparedRegion:
    """A region with both decisions. `frame` tells the frames of a camera apart, which arrived `arrived_at_us`."""

    camera: str
    frame: str
    arrived_at_us: int
    active: Decision
    shadow: Decision


@dataclass
class _CameraMinute:
    """The regions of one camera in one minute, and how many have which change."""

    minute: int
    frame: str = ""
    regions: int = 0
    changes: Counter[Change] = field(default_factory=Counter)


class Comparison:
    """Counts compared regions, in bounded memory."""

    def __init__(self) -> None:
        self.dropped = 0
        self.failed = 0
        self._frames = 0
        self._decisions: Counter[tuple[str, str]] = Counter()
        self._first_us: int | None = None
        self._last_us = 0
        self._closed = _MinuteSums()
        self._open: OrderedDict[str, _CameraMinute] = OrderedDict()
        self._cameras: dict[str, list[int]] = {}
        self._shift = Shift()
        self._active_cost, self._shadow_cost = Cost(), Cost()
        self._flows: FrequentKeys[tuple[str | None, str | None]] = FrequentKeys(MAX_FLOWS)

    def add(self, region: ComparedRegion) -> None:
        """Count a region."""
        before, after = product_of(region.active), product_of(region.shadow)
        changes = _changes(before, after, region.shadow)
        at_us = region.arrived_at_us
        self._first_us = min(self._first_us, at_us) if self._first_us is not None else at_us
        self._last_us = max(self._last_us, at_us)
        self._decisions[region.active.kind, region.shadow.kind] += 1
        if before != after:
            self._flows.add((before, after))
        if region.active.score is not None and region.shadow.score is not None:
            difference = region.shadow.score - region.active.score
            self._shift += Shift(1, difference, difference**2)
        self._add_to_minute(region, changes)
        self._add_to_camera(region.camera, changed=before != after)

    def add_cost(self, active: Cost, shadow: Cost) -> None:
        """Add what deciding the regions took on both sides."""
        self._active_cost += active
        self._shadow_cost += shadow

    def counts(self) -> ShadowCounts:
        """Everything counted so far. Minutes that are not over count as they are."""
        minutes = self._closed.copy()
        for own in self._open.values():
            minutes.add(own)
        return ShadowCounts(
            first_at="" if self._first_us is None else to_rfc3339(self._first_us),
            last_at="" if self._first_us is None else to_rfc3339(self._last_us),
            frames=self._frames,
            regions=self._decisions.total(),
            dropped=self.dropped,
            failed=self.failed,
            decisions=to_table(self._decisions),
            minutes=minutes.minutes,
            squares=minutes.squares,
            changes=dict(minutes.changes),
            shift=self._shift,
            active_cost=self._active_cost,
            shadow_cost=self._shadow_cost,
            flows=tuple(Flow(*products, regions) for products, regions in self._flows.most_common()),
            flow_error=self._flows.error,
            cameras=tuple(CameraCounts(camera, *numbers) for camera, numbers in self._cameras.items()),
        )

    def _add_to_minute(self, region: ComparedRegion, changes: list[Change]) -> None:
        minute = region.arrived_at_us // _US_PER_MINUTE
        own = self._open.pop(region.camera, None)
        if own is None or own.minute != minute:
            if own is not None:
                self._closed.add(own)
            own = _CameraMinute(minute)
        self._open[region.camera] = own  # the newest last
        if own.frame != region.frame:
            own.frame = region.frame
            self._frames += 1
        own.regions += 1
        own.changes.update(changes)
        if len(self._open) > MAX_CAMERAS:
            _, oldest = self._open.popitem(last=False)
            self._closed.add(oldest)

    def _add_to_camera(self, camera: str, *, changed: bool) -> None:
        if camera in self._cameras or len(self._cameras) < MAX_CAMERAS:
            numbers = self._cameras.setdefault(camera, [0, 0])
            numbers[0] += 1
            numbers[1] += changed


@dataclass
class _MinuteSums:
    """The sums over camera-minutes."""

    minutes: int = 0
    squares: int = 0
    changes: dict[Change, ChangeSums] = field(default_factory=dict)

    def add(self, own: _CameraMinute) -> None:
        self.minutes += 1
        self.squares += own.regions**2
        for change in CHANGES:
            if number := own.changes[change]:
                self.changes[change] = self.changes.get(change, ChangeSums()) + ChangeSums.of(number, own.regions)

    def copy(self) -> "_MinuteSums":
        return _MinuteSums(self.minutes, self.squares, dict(self.changes))


def product_of(decision: Decision) -> str | None:
    """The product that an event with this decision names; None without a match."""
    return decision.candidates[0].product_id if decision.kind == "match" else None


def _changes(before: str | None, after: str | None, shadow: Decision) -> list[Change]:
    changes: list[Change] = ["unknown"] if shadow.kind == "unknown" else []
    if before != after:
        changes.append("changed")
        changes.append("gained" if before is None else "lost" if after is None else "replaced")
    return changes
