"""Served snapshots, decided batches and a running shadow, for the tests of the shadow."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from consumers.metrics import ConsumerMetrics
from consumers.shadow.comparisons import Comparisons, Pair
from consumers.shadow.queue import ShadowQueue
from consumers.shadow.shadow import Shadow
from consumers.stages.batcher import RegionCrop, region_crops
from framematch.core.events import ModelInfo
from framematch.core.frames import Frame
from framematch.core.health import new_registry
from framematch.matching.decision import Decision, Thresholds
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.matching.shadow.counts import Cost, ShadowCounts
from tests.unit.consumers.sample_frames import fetched, make_served, prepare
from tests.unit.matching.shadow_samples import UNKNOWN, match

BATCH_SIZE = 4
DIMENSION = 3
PAIR = Pair("active", "shadow")
Embeddings = npt.NDArray[np.float32]


class FakeMatcher:
    """Gives every embedding this decision; remembers how many it was asked for."""

    def __init__(self, decision: Decision = UNKNOWN) -> None:
        self.decision = decision
        self.searched: list[int] = []
        self.errors: list[Exception] = []
        self.thresholds = Thresholds(0.5, 0.1)

    def match(self, embeddings: Embeddings) -> list[Decision]:
        if self.errors:
            raise self.errors.pop(0)
        self.searched.append(len(embeddings))
        return [self.decision] * len(embeddings)


class FakeEncoder:
    """Embeds, unless it is stuck; remembers the shapes of what it got."""

    def __init__(self) -> None:
        self.manifest = SimpleNamespace(dimension=DIMENSION, max_batch_size=8)
        self.stuck = False
        self.errors: list[Exception] = []
        self.shapes: list[tuple[int, ...]] = []

    async def embed(self, crops: npt.NDArray[np.uint8]) -> Embeddings:
        self.shapes.append(crops.shape)
        if self.stuck:
            await asyncio.Event().wait()
        if self.errors:
            raise self.errors.pop(0)
        return np.eye(len(crops), DIMENSION, dtype=np.float32)


def served(snapshot: str, *, model: str = "m1", preprocessing: str = "p1", **parts: Any) -> ServedSnapshot:
    """A served snapshot of this model and preprocessing."""
    parts.setdefault("preprocessor", SimpleNamespace(digest=preprocessing))
    return replace(make_served(snapshot=snapshot, **parts), model=ModelInfo("small", model))


def decided_batch(count: int, *, first: int = 0, regions: int = 1, active: Decision | None = None) -> list[RegionCrop]:
    """The regions of `count` frames, which the active snapshot has decided."""
    batch: list[RegionCrop] = []
    for number in range(first, first + count):
        frame = fetched(number)
        frame.header = Frame("till-1", 1_000_000 * number, number)
        prepare(frame, regions, ACTIVE)
        batch += region_crops(frame)
        for region in range(regions):
            frame.decide(region, active or match("milk"))
    return batch


ACTIVE = served("active", matcher=FakeMatcher(match("milk")), encoder=FakeEncoder())


@dataclass
class ShadowRun:
    """A queue with what it works on; `shadow` and `sample` are what the names say."""

    shadow: ServedSnapshot | None = None
    sample: float = 1.0
    now_s: float = 0.0
    gather_s: float = 0.0
    comparisons: Comparisons = field(default_factory=Comparisons)
    queue: ShadowQueue = field(init=False)
    metrics: ConsumerMetrics = field(default_factory=lambda: ConsumerMetrics(new_registry()))

    def __post_init__(self) -> None:
        self.queue = ShadowQueue(
            lambda: self.shadow,
            lambda: self.sample,
            batch_size=BATCH_SIZE,
            gather_s=self.gather_s,
            comparisons=self.comparisons,
            metrics=self.metrics,
            clock=lambda: self.now_s,
        )

    def offer(self, batch: Sequence[RegionCrop], active: ServedSnapshot = ACTIVE, invalid: Sequence[int] = ()) -> None:
        """Offer a batch, as the inference does."""
        embeddings = np.zeros((len(batch), DIMENSION), np.float32)
        self.queue.offer(active, batch, embeddings, frozenset(invalid), Cost(2.0 * len(batch), 1.0 * len(batch)))

    @property
    def counts(self) -> ShadowCounts:
        """What was counted for `PAIR`."""
        return self.comparisons.of(PAIR).counts()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The shadow decides while the block runs."""
        database: Any = None
        with ThreadPoolExecutor(1) as thread:
            shadow = Shadow(
                self.queue,
                thread=thread,
                comparisons=self.comparisons,
                database=database,
                metrics=self.metrics,
                max_pixels=1_000_000,
            )
            task = asyncio.create_task(shadow.run())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.wait({task})
        assert task.cancelled()
