"""Decides pictures as frames are decided: the one path of match and search in the API, and of `framematch search`."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

import numpy as np

from framematch.catalog.images import MAX_BYTES, MAX_PIXELS
from framematch.core.arrays import Embeddings, Pixels
from framematch.core.errors import PictureError
from framematch.core.frames import Region
from framematch.core.units import BYTES_PER_MB
from framematch.matching.decision import MAX_PLAUSIBLE, Candidate, Decision
from framematch.matching.gate import MeasuredCrop, PictureGate
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.pictures.regions import clipped, cut
from framematch.pictures.stored import FORMATS, open_picture
from framematch.vision.isolation import embed_isolating
from framematch.vision.preprocess import Preprocessor

Found: TypeAlias = tuple[Candidate, ...]


@dataclass(frozen=True)
class Picture:
    """The bytes of a picture, and regions of it in pixels of the upright picture; none is the whole picture."""

    data: bytes
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True)
class PreparedPicture:
    """What the model takes: a crop uint8 [H, W, 3] of each region, which are inside the picture."""

    width: int
    height: int
    regions: tuple[Region, ...]
    crops: tuple[Pixels, ...]
    measured: tuple[MeasuredCrop, ...]


@dataclass(frozen=True)
class DecidedRegion:
    """A region, what it shows, and its embedding float32 [D], if the model made one."""

    region: Region
    decision: Decision
    embedding: Embeddings | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class DecidedPicture:
    """A picture's upright size in pixels, and a decision for each region in the order of the request."""

    width: int
    height: int
    regions: tuple[DecidedRegion, ...]


@dataclass
class StageTimes:
    """How long the stages of one request took, in ms."""

    ms: dict[str, float] = field(default_factory=dict)
    _last_s: float = field(default_factory=time.monotonic)

    def end(self, stage: str) -> None:
        """The stage took the time since the one before."""
        now_s = time.monotonic()
        self.ms[stage] = round(1000 * (now_s - self._last_s), 3)
        self._last_s = now_s


class Engine(Protocol):
    """Embeds and searches, perhaps together with what others want at the same time."""

    async def prepare(self, picture: Picture, preprocessor: Preprocessor) -> PreparedPicture:
        """As `prepare_picture`, in a thread."""

    async def embed(self, served: ServedSnapshot, crops: Sequence[Pixels]) -> list[Embeddings | None]:
        """The embedding float32 [D] of each crop; None for one that the model cannot embed."""

    async def nearest(
        self, served: ServedSnapshot, rows: Embeddings, k: int, among: frozenset[str] | None
    ) -> list[Found]:
        """The `k` nearest products of each row of [N, D], among these if given."""


@dataclass(frozen=True)
class DirectEngine:
    """Runs everything at once, for one caller. `search_thread` is one of its own: the index runs one search a time."""

    search_thread: Executor
    formats: Sequence[str] = FORMATS

    async def prepare(self, picture: Picture, preprocessor: Preprocessor) -> PreparedPicture:
        """As `prepare_picture`."""
        return await asyncio.to_thread(prepare_picture, picture, preprocessor, self.formats)

    async def embed(self, served: ServedSnapshot, crops: Sequence[Pixels]) -> list[Embeddings | None]:
        """One call of the model."""
        embeddings, invalid_rows = await embed_isolating(served.encoder, np.stack(crops))
        return [None if row in invalid_rows else one for row, one in enumerate(embeddings)]

    async def nearest(
        self, served: ServedSnapshot, rows: Embeddings, k: int, among: frozenset[str] | None
    ) -> list[Found]:
        """One search."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.search_thread, served.matcher.search, rows, k, among)


def prepare_picture(picture: Picture, preprocessor: Preprocessor, formats: Sequence[str] = FORMATS) -> PreparedPicture:
    """Decode a picture upright and in sRGB, as a product photo, and crop its regions as those of a frame. CPU-bound.

    Raises:
        PictureError: as of `decode_picture`; `too_many_bytes`; `region`, for a box outside of the picture.
    """
    if len(picture.data) > MAX_BYTES:
        raise PictureError("too_many_bytes", f"has more than {MAX_BYTES // BYTES_PER_MB} MB")
    opened = open_picture(picture.data, max_pixels=MAX_PIXELS, formats=formats)
    width, height = opened.width, opened.height
    regions = tuple(clipped(region, width, height) for region in picture.regions or ((0, 0, width, height),))
    # As for a frame: a region that is scaled down much needs no full picture.
    decoded = opened.decode(min(preprocessor.reduction(region[3], region[2]) for region in regions))
    crops = tuple(preprocessor(cut(decoded.pixels, region, decoded.reduction)) for region in regions)
    return PreparedPicture(width, height, regions, crops, tuple(map(MeasuredCrop.of, crops, regions)))


async def match_pictures(
    engine: Engine,
    served: ServedSnapshot,
    pictures: Sequence[Picture],
    *,
    top_k: int,
    gate: PictureGate,
    among: frozenset[str] | None = None,
    times: StageTimes | None = None,
) -> list[DecidedPicture | PictureError]:
    """Decide each picture by one snapshot, or say why it cannot be; one does not affect the others.

    A region that does not pass the gate is decided without the model. Otherwise, a region without candidates is one for
    which no product can be found.

    Raises:
        TritonUnavailableError, ModelError: the model does not answer, or not with embeddings.
    """
    times = times or StageTimes()
    prepared = await asyncio.gather(*(_prepared(engine, picture, served.preprocessor) for picture in pictures))
    times.end("decode")
    usable = [one for one in prepared if isinstance(one, PreparedPicture)]
    crops = [
        crop
        for one in usable
        for crop, measured in zip(one.crops, one.measured, strict=True)
        if gate.decide(measured) is None
    ]
    embeddings = await engine.embed(served, crops) if crops else []
    times.end("infer")
    rows = [one for one in embeddings if one is not None]
    decisions = iter(await _decide(engine, served, np.stack(rows), top_k, among) if rows else [])
    times.end("search")
    decided = iter([(None if one is None else next(decisions), one) for one in embeddings])
    return [_decided(one, gate, decided) if isinstance(one, PreparedPicture) else one for one in prepared]


async def _decide(
    engine: Engine, served: ServedSnapshot, rows: Embeddings, top_k: int, among: frozenset[str] | None
) -> list[Decision]:
    found = await engine.nearest(served, rows, max(top_k, MAX_PLAUSIBLE), among)
    return served.matcher.decide(found, rows, top_k)


async def _prepared(engine: Engine, picture: Picture, preprocessor: Preprocessor) -> PreparedPicture | PictureError:
    try:
        return await engine.prepare(picture, preprocessor)
    except PictureError as error:
        return error.with_traceback(None)  # which refers to the bytes


def _decided(
    picture: PreparedPicture, gate: PictureGate, decided: Iterator[tuple[Decision | None, Embeddings | None]]
) -> DecidedPicture | PictureError:
    """The picture with the next of `decided` for each region that the model was asked about."""
    regions = []
    for region, measured in zip(picture.regions, picture.measured, strict=True):
        refusal = gate.decide(measured)
        decision, embedding = next(decided) if refusal is None else (refusal, None)
        if decision is not None:
            regions.append(DecidedRegion(region, replace(decision, quality=measured.quality), embedding))
    if len(regions) < len(picture.regions):
        return PictureError("invalid_embedding", "is one that the model cannot embed")
    return DecidedPicture(picture.width, picture.height, tuple(regions))
