"""One frame on its way through the consumer: filled in stage by stage, by the pipeline alone."""

import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord, TopicPartition

from framematch.core.errors import BadFrameError
from framematch.core.frames import Frame, Region
from framematch.matching.decision import Decision
from framematch.vision.arrays import Pixels

_NS_PER_MS = 1_000_000

Span = tuple[int, int]
"""Begin and end of a stage, nanoseconds since the epoch."""


@dataclass(eq=False)
class Work:
    """A record, and what has become of it so far.

    Frames of one `lane` are answered in the order in which they were fetched. `epoch` is that of the assignment under
    which the record was fetched: what outlives it belongs to another consumer. In the end a frame has a decision for
    each region, by its number, or is `bad` (a dead letter of stage `bad_stage`), or was `skipped` for a
    reason. A region in `reused_from` has the decision of the frame with that id.
    """

    record: ConsumerRecord
    lane: Hashable
    epoch: int
    fetched_ns: int
    frame: Frame | None = None
    regions: tuple[Region, ...] = ()
    crops: tuple[Pixels, ...] = ()
    decisions: dict[int, Decision] = field(default_factory=dict)
    bad: BadFrameError | None = None
    bad_stage: str = "decode"
    skipped: str | None = None
    reused_from: dict[int, str] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)

    @property
    def partition(self) -> TopicPartition:
        """Where the record lies."""
        return TopicPartition(self.record.topic, self.record.partition)

    @property
    def size_bytes(self) -> int:
        """What it holds in memory: the record's value, and the crops that the model takes."""
        return len(self.record.value or b"") + sum(crop.nbytes for crop in self.crops)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be found out about it."""
        return self.bad is not None or self.skipped is not None or 0 < len(self.regions) == len(self.decisions)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure a stage of this frame alone."""
        begin_ns = time.time_ns()
        yield
        self.spans[stage] = (begin_ns, time.time_ns())

    def timings_ms(self) -> dict[str, float]:
        """Milliseconds by stage, as a match event shows them."""
        return {stage: round((end - begin) / _NS_PER_MS, 3) for stage, (begin, end) in self.spans.items()}
