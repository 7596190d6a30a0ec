"""Records and frames for the tests of the consumer's stages."""

from collections.abc import Hashable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from aiokafka import ConsumerRecord

from consumers.in_flight_frame import InFlightFrame, Rejected
from framematch.catalog.changes.delta import Delta
from framematch.core.errors import BadFrameError
from framematch.core.events import ModelInfo
from framematch.core.frames import Region
from framematch.matching.decision import Decision, Thresholds
from framematch.matching.serving.served_snapshot import ServedSnapshot

UNKNOWN = Decision("unknown", 0.1, None, ())
TRUNCATED = Rejected("decode", BadFrameError("truncated", "it ends early"))
_SIDE = 2


def record(
    offset: int,
    *,
    partition: int = 0,
    key: bytes | None = b"till-1",
    value: bytes | None = b"jpeg",
    headers: Sequence[tuple[str, bytes | None]] = (),
) -> ConsumerRecord:
    """A record of the frames topic."""
    size = len(value or b"")
    return ConsumerRecord("framematch.frames", partition, offset, 1_000, 0, key, value, 0, 6, size, tuple(headers))


def fetched(offset: int, *, partition: int = 0, key: Hashable = "till-1", value: bytes = b"jpeg") -> InFlightFrame:
    """A frame that was just fetched; `key` is its ordering key."""
    return InFlightFrame(record(offset, partition=partition, value=value), key, 0)


def make_served(
    *,
    snapshot: str = "snapshot",
    delta: int = 0,
    thresholds: Thresholds = Thresholds(0.5, 0.1),  # noqa: B008  # frozen
    preprocessor: Any = None,
    encoder: Any = None,
    matcher: Any = None,
) -> ServedSnapshot:
    """A served snapshot of these parts; the default matcher has only thresholds."""
    manifest: Any = SimpleNamespace(id=snapshot, rows=1, calibration=None)
    no_search: Any = SimpleNamespace(thresholds=thresholds)
    return ServedSnapshot(
        manifest=manifest,
        changes=Delta(delta),
        model=ModelInfo("small", "00ff"),
        preprocessor=preprocessor,
        encoder=encoder,
        matcher=matcher or no_search,
    )


SERVED = make_served()


def prepare(frame: InFlightFrame, regions: int, served: ServedSnapshot = SERVED) -> None:
    """Give a frame this many regions, as the decoder does."""
    frame.served = served
    boxes: tuple[Region, ...] = tuple((number, 0, 1, 1) for number in range(regions))
    frame.regions = boxes
    frame.crops = tuple(np.zeros((_SIDE, _SIDE, 3), np.uint8) for _ in boxes)
    frame.spans["decode"] = (0, 0)
