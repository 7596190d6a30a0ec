"""A frame between fetch and acknowledgement: its record, its outcome, and when each stage worked on it."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aiokafka import ConsumerRecord, TopicPartition

from framematch.core.arrays import Pixels
from framematch.core.errors import BadFrameError
from framematch.core.frames import Frame, Region
from framematch.core.units import NS_PER_US, US_PER_MS
from framematch.matching.decision import Decision
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.vision.region_rows import RegionRow

_HALF_US = NS_PER_US // 2

Span = tuple[int, int]
"""Start and end of a stage, nanoseconds since the epoch."""


@dataclass(frozen=True)
class Pending:
    """Not decided yet."""


@dataclass(frozen=True)
class Skipped:
    """Gives no events: it is too old (`reason` is `age` or `replay`), or its frame has an earlier record (`repeat`)."""

    reason: str


@dataclass(frozen=True)
class Rejected:
    """Cannot be processed: the record becomes a dead letter. `stage` found `error`."""

    stage: str
    error: BadFrameError


@dataclass(frozen=True)
class Decided:
    """A decision for each region, in their order.

    `reused_from` has the regions whose decision was made for another frame, by number, with that frame's id.
    """

    decisions: Sequence[Decision]
    reused_from: Mapping[int, str]


Outcome = Pending | Skipped | Rejected | Decided


@dataclass(eq=False)
class InFlightFrame:
    """A fetched record, filled in by one stage after the other.

    Frames with the same `ordering_key` are published in the order in which they were fetched. `header` is what the
    record's headers say; `crops` are the regions' pixels as the model takes them, until the frame is complete, or
    `rows` what Triton makes them of; `qualities` are the regions' qualities, by number; `served` is the snapshot that
    all of the frame is decided with, from when it is prepared until its events are built; `partition` is the record's.
    """

    record: ConsumerRecord
    ordering_key: Hashable
    fetched_ns: int
    header: Frame | None = None
    regions: tuple[Region, ...] = ()
    crops: tuple[Pixels, ...] = ()
    rows: tuple[RegionRow, ...] = ()
    qualities: dict[int, float] = field(default_factory=dict)
    served: ServedSnapshot | None = None
    outcome: Outcome = Pending()
    spans: dict[str, Span] = field(default_factory=dict)
    _decisions: dict[int, Decision] = field(default_factory=dict)
    _reused_from: dict[int, str] = field(default_factory=dict)
    partition: TopicPartition = field(init=False)

    def __post_init__(self) -> None:
        self.partition = TopicPartition(self.record.topic, self.record.partition)

    @property
    def size_bytes(self) -> int:
        """Memory in use: the record's value, which the rows share, and the crops."""
        return len(self.record.value or b"") + sum(crop.nbytes for crop in self.crops)

    @property
    def complete(self) -> bool:
        """Whether the outcome is final."""
        return not isinstance(self.outcome, Pending)

    def decide(self, region: int, decision: Decision, *, reused_from: str | None = None) -> None:
        """Set the decision of one region, with its quality.

        With the last one the frame is decided, unless it was rejected before.
        """
        self._decisions[region] = replace(decision, quality=self.qualities.get(region))
        if reused_from is not None:
            self._reused_from[region] = reused_from
        if not self.complete and len(self._decisions) == len(self.regions):
            decisions = tuple(self._decisions[number] for number in range(len(self.regions)))
            self.outcome = Decided(decisions, self._reused_from)

    def has_decision(self, region: int) -> bool:
        """Whether a region has its decision."""
        return region in self._decisions

    def decision(self, region: int) -> Decision:
        """The decision of a region that has one."""
        return self._decisions[region]

    def timings_ms(self) -> dict[str, float]:
        """Milliseconds by stage, as match events contain them."""
        # In whole microseconds: `round` to three digits takes four times as long.
        spans = self.spans.items()
        return {stage: (end - start + _HALF_US) // NS_PER_US / US_PER_MS for stage, (start, end) in spans}
