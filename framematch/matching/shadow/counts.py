"""What is counted of a shadow snapshot beside the active one, by one process or several together. Pure: no I/O."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, Self, get_args

import msgspec

from framematch.core.events import DecisionKind

KINDS: Final[tuple[DecisionKind, ...]] = get_args(DecisionKind)
Change = Literal["changed", "lost", "gained", "replaced", "unknown"]
"""A property of a compared region. `changed`: the shadow gives another product, or none where the active snapshot gives
one, or the reverse. Each changed region is one of `lost` (product to none), `gained` (none to product) and `replaced`
(product to another). `unknown`: the shadow's decision is unknown, whatever the active one's.
"""
CHANGES: Final[tuple[Change, ...]] = get_args(Change)
MAX_FLOWS: Final = 256
MAX_CAMERAS: Final = 1_000

Count = Annotated[int, msgspec.Meta(ge=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
Row = tuple[Count, Count, Count]
Table = tuple[Row, Row, Row]


@dataclass(frozen=True)
class ChangeSums:
    """Over camera-minutes of n regions, y of them with a change: what its share and its interval need.

    `minutes` are those with y > 0, `full_minutes` those with y = n; `regions` is the sum of y, `squares` that of y^2,
    `products` that of y n.
    """

    minutes: Count = 0
    full_minutes: Count = 0
    regions: Count = 0
    squares: Count = 0
    products: Count = 0

    @classmethod
    def of(cls, changed: int, regions: int) -> Self:
        """The sums of one camera-minute."""
        return cls(int(changed > 0), int(changed == regions), changed, changed * changed, changed * regions)

    def __add__(self, other: "ChangeSums") -> "ChangeSums":
        return ChangeSums(
            self.minutes + other.minutes,
            self.full_minutes + other.full_minutes,
            self.regions + other.regions,
            self.squares + other.squares,
            self.products + other.products,
        )


@dataclass(frozen=True)
class Shift:
    """How much higher the shadow's similarity is: over `regions`, the sum of the differences and of their squares."""

    regions: Count = 0
    total: float = 0.0
    squares: Amount = 0.0

    def __add__(self, other: "Shift") -> "Shift":
        return Shift(self.regions + other.regions, self.total + other.total, self.squares + other.squares)


@dataclass(frozen=True)
class Cost:
    """Milliseconds for the compared regions, waiting for Triton included."""

    embed_ms: Amount = 0.0
    search_ms: Amount = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.embed_ms + other.embed_ms, self.search_ms + other.search_ms)


@dataclass(frozen=True)
class Flow:
    """So many regions went from the active snapshot's product to the shadow's; None is no product."""

    active: str | None
    shadow: str | None
    regions: Count


@dataclass(frozen=True)
class CameraCounts:
    """The compared regions of a camera, and those that changed."""

    camera: str
    regions: Count
    changed: Count


@dataclass(frozen=True)
class ShadowCounts:
    """What was counted for one active and one shadow snapshot.

    `decisions` has a row for each kind of the active decision and a column for each of the shadow's, in the order of
    `KINDS`. `dropped` regions came faster than the shadow could decide them, `failed` ones it could not decide.
    `minutes` are camera-minutes, `squares` is the sum of the squares of their regions. `flows` are the largest ones,
    first; the number of each is wrong by at most `flow_error`. `cameras` are the first 1,000 of each process. Times are
    RFC 3339, of the oldest and newest compared frame; empty when there is none.
    """

    first_at: str = ""
    last_at: str = ""
    frames: Count = 0
    regions: Count = 0
    dropped: Count = 0
    failed: Count = 0
    decisions: Table = ((0, 0, 0), (0, 0, 0), (0, 0, 0))
    minutes: Count = 0
    squares: Count = 0
    changes: dict[Change, ChangeSums] = field(default_factory=dict)
    shift: Shift = Shift()
    active_cost: Cost = Cost()
    shadow_cost: Cost = Cost()
    flows: tuple[Flow, ...] = ()
    flow_error: Count = 0
    cameras: tuple[CameraCounts, ...] = ()

    @property
    def consistent(self) -> bool:
        """Whether the numbers agree with each other, as those that were counted do."""
        return (
            self.regions == sum(map(sum, self.decisions))
            and self.minutes <= self.regions <= self.squares
            and (self.minutes > 0) == (self.regions > 0)
            and all(
                sums.minutes <= self.minutes and sums.full_minutes <= self.minutes and sums.regions <= self.regions
                for sums in self.changes.values()
            )
        )

    def of_change(self, change: Change) -> ChangeSums:
        """The sums of a change; zeros when there was none."""
        return self.changes.get(change, ChangeSums())


def merged(parts: Sequence[ShadowCounts]) -> ShadowCounts:
    """The counts of several processes, or of several runs of one, together."""
    started = [part for part in parts if part.first_at]
    return ShadowCounts(
        first_at=min((part.first_at for part in started), default=""),
        last_at=max((part.last_at for part in started), default=""),
        frames=sum(part.frames for part in parts),
        regions=sum(part.regions for part in parts),
        dropped=sum(part.dropped for part in parts),
        failed=sum(part.failed for part in parts),
        decisions=_sum_tables(parts),
        minutes=sum(part.minutes for part in parts),
        squares=sum(part.squares for part in parts),
        changes={change: sum((part.of_change(change) for part in parts), ChangeSums()) for change in CHANGES},
        shift=sum((part.shift for part in parts), Shift()),
        active_cost=sum((part.active_cost for part in parts), Cost()),
        shadow_cost=sum((part.shadow_cost for part in parts), Cost()),
        flows=_sum_flows(parts),
        flow_error=sum(part.flow_error for part in parts),
        cameras=_sum_cameras(parts),
    )


def to_table(decisions: Mapping[tuple[str, str], int]) -> Table:
    """The table of numbers by the kinds of the active and the shadow's decision."""

    def row(active: str) -> Row:
        first, second, third = (decisions.get((active, shadow), 0) for shadow in KINDS)
        return first, second, third

    first, second, third = map(row, KINDS)
    return first, second, third


def _sum_tables(parts: Iterable[ShadowCounts]) -> Table:
    decisions: Counter[tuple[str, str]] = Counter()
    for part in parts:
        for active, row in zip(KINDS, part.decisions, strict=True):
            for shadow, regions in zip(KINDS, row, strict=True):
                decisions[active, shadow] += regions
    return to_table(decisions)


def _sum_flows(parts: Iterable[ShadowCounts]) -> tuple[Flow, ...]:
    regions: Counter[tuple[str | None, str | None]] = Counter()
    for part in parts:
        for flow in part.flows:
            regions[flow.active, flow.shadow] += flow.regions
    return tuple(Flow(*products, number) for products, number in regions.most_common(MAX_FLOWS))


def _sum_cameras(parts: Iterable[ShadowCounts]) -> tuple[CameraCounts, ...]:
    regions: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    for part in parts:
        for own in part.cameras:
            regions[own.camera] += own.regions
            changed[own.camera] += own.changed
    return tuple(CameraCounts(camera, number, changed[camera]) for camera, number in regions.most_common())
