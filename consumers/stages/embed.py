"""Embeds a batch of regions, whose JPEGs this process or Triton has decoded, and settles what their pictures decide."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from consumers.in_flight_frame import Rejected
from consumers.stages.batcher import RegionCrop
from consumers.stages.decode import bad_frame
from framematch.core.arrays import Embeddings
from framematch.core.errors import PictureError
from framematch.matching.gate import MeasuredCrop, PictureGate
from framematch.vision.encoder import ImageEncoder
from framematch.vision.isolation import embed_isolating, embed_regions_isolating
from framematch.vision.jpeg_encoder import JpegEncoder, Measured


@dataclass(frozen=True, eq=False)
class EmbeddedBatch:
    """The embeddings [N, D] of a batch; rows without one are NaN. The model cannot embed those of `invalid_rows`.

    `measured` is what Triton found out about the pictures; None when this process has decoded them.
    """

    embeddings: Embeddings
    invalid_rows: frozenset[int]
    measured: Measured | None = None


async def embed_batch(encoder: ImageEncoder, batch: Sequence[RegionCrop], gate: PictureGate | None) -> EmbeddedBatch:
    """Embed the regions of a batch. When Triton decodes, what the `gate` refuses needs no embedding.

    Raises:
        EmbeddingError: the model is broken.
        TritonUnavailableError: Triton is unreachable, slow or busy.
        ModelMismatchError: Triton serves another model now.
    """
    rows = [region.row for region in batch if region.row is not None]
    if not rows:
        return EmbeddedBatch(*await embed_isolating(encoder, np.stack([region.pixels for region in batch])))
    if not isinstance(encoder, JpegEncoder) or gate is None:
        raise TypeError("regions of JPEGs need an encoder that takes them, and a gate")

    def needed(content: float, quality: float) -> bool:
        return gate.decide(MeasuredCrop(content, quality)) is None

    return EmbeddedBatch(*await embed_regions_isolating(encoder, rows, needed))


def settle_by_picture(batch: Sequence[RegionCrop], embedded: EmbeddedBatch, gate: PictureGate | None) -> frozenset[int]:
    """Where Triton has decoded: reject frames with a bad JPEG, and decide the regions that the `gate` refuses.

    Also sets each region's quality. Returns the rows that need no decision by their embedding any more.
    """
    measured, settled = embedded.measured, set[int]()
    if measured is None or gate is None:
        return frozenset()
    found = zip(batch, measured.problems, measured.contents, measured.qualities, strict=True)
    for row, (region, problem, content, quality) in enumerate(found):
        frame = region.frame
        if problem:
            reason, _, message = problem.partition(": ")
            if not frame.complete:
                error = bad_frame(PictureError(reason, message), frame.record.value or b"")
                frame.outcome = Rejected("decode", error)
            settled.add(row)
            continue
        frame.qualities[region.number] = quality
        if (decision := gate.decide(MeasuredCrop(content, quality))) is not None:
            frame.decide(region.number, decision)
            settled.add(row)
    return frozenset(settled)
