"""Records and frames on their way, for the tests of the consumer's stages."""

from collections.abc import Hashable, Sequence

import numpy as np
from aiokafka import ConsumerRecord

from consumers.work import Work
from framematch.core.errors import BadFrameError
from framematch.core.frames import Region
from framematch.matching.decision import Decision

UNKNOWN = Decision("unknown", 0.1, None, ())
BAD = BadFrameError("truncated", "it ends early")
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


def work(offset: int, *, partition: int = 0, lane: Hashable = "till-1", epoch: int = 0, value: bytes = b"jpeg") -> Work:
    """A frame that was just fetched."""
    return Work(record(offset, partition=partition, value=value), lane, epoch, 0)


def prepare(prepared: Work, regions: int) -> None:
    """Give it so many regions, as the decoder does."""
    boxes: tuple[Region, ...] = tuple((number, 0, 1, 1) for number in range(regions))
    prepared.regions = boxes
    prepared.crops = tuple(np.zeros((_SIDE, _SIDE, 3), np.uint8) for _ in boxes)
    prepared.spans["decode"] = (0, 0)
