"""Gets the embeddings of labelled pictures: kept ones, or else new ones, prepared as frames are."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from framematch.catalog.embeddings.picture_embedder import FETCHED_IMAGES, MAX_BATCH_VIEWS, Encoder
from framematch.catalog.embeddings.store import EmbeddingSpace, EmbeddingStore
from framematch.catalog.images import MAX_PIXELS
from framematch.catalog.samples.sample import Sample
from framematch.catalog.samples.store import SampleStore
from framematch.core.arrays import Embeddings, Pixels, invalid_rows
from framematch.core.errors import EmbeddingError, PictureError
from framematch.core.progress import OnProgress
from framematch.pictures.stored import open_picture
from framematch.vision.preprocess import Preprocessor

log = structlog.get_logger()


@dataclass(frozen=True)
class EmbeddedSamples:
    """Samples and their embeddings, float32 [N, D], in the same order; how many of them were embedded anew.

    `unusable` have none: the picture is gone, cannot be decoded, or the model cannot embed it.
    """

    samples: tuple[Sample, ...]
    embeddings: Embeddings
    new: int
    unusable: tuple[Sample, ...]


@dataclass(frozen=True)
class SampleEmbedder:
    """Embeds labelled pictures in the space of one model and preprocessing, and keeps the embeddings."""

    store: SampleStore
    encoder: Encoder
    preprocessor: Preprocessor

    async def embed(
        self, samples: Sequence[Sample], on_progress: OnProgress = lambda _done, _total: None
    ) -> EmbeddedSamples:
        """The embeddings of these samples. New ones are kept at once, so an interrupted run goes on where it was.

        Memory: all embeddings, and a batch of decoded pictures.

        Raises:
            EmbeddingError: the model returned something that is no embedding.
            UnavailableError: MongoDB or Triton became unavailable.
        """
        dimension, kept = self.encoder.manifest.dimension, self._kept_embeddings
        embeddings = np.full((len(samples), dimension), np.nan, np.float32)
        async for numbers, rows in kept.read([kept_name(sample.image) for sample in samples]):
            embeddings[numbers] = rows
        missing = np.flatnonzero(np.isnan(embeddings[:, 0])).tolist()
        done = len(samples) - len(missing)
        on_progress(done, len(samples))
        for batch in _parts(missing, min(MAX_BATCH_VIEWS, self.encoder.manifest.max_batch_size)):
            found, rows = await self._embed([samples[number] for number in batch])
            if found:
                embeddings[[batch[number] for number in found]] = rows
                await kept.write([kept_name(samples[batch[number]].image) for number in found], rows)
            done += len(batch)
            on_progress(done, len(samples))
        usable = ~np.isnan(embeddings[:, 0])
        unusable = tuple(sample for sample, is_usable in zip(samples, usable, strict=True) if not is_usable)
        if unusable:
            log.warning("samples_unusable", samples=[sample.id for sample in unusable[:10]], count=len(unusable))
        return EmbeddedSamples(
            tuple(sample for sample, is_usable in zip(samples, usable, strict=True) if is_usable),
            embeddings[usable],
            len(missing) - len(unusable),
            unusable,
        )

    @property
    def _kept_embeddings(self) -> EmbeddingStore:
        model = self.encoder.manifest
        space = EmbeddingSpace(model.digest, self.preprocessor.digest, model.dimension)
        return EmbeddingStore(self.store.database, space)

    async def _embed(self, samples: Sequence[Sample]) -> tuple[list[int], Embeddings]:
        """Which of a batch can be embedded, by number, and their embeddings."""
        crops: dict[int, Pixels] = {}
        for part in _parts(list(range(len(samples))), FETCHED_IMAGES):
            pictures = await self.store.pictures([samples[number] for number in part])
            for number in part:
                data = pictures.get(samples[number].image)
                crop = None if data is None else await asyncio.to_thread(self._crop, data)
                if crop is not None:
                    crops[number] = crop
        numbers = list(crops)
        if not crops:
            return [], np.empty((0, self.encoder.manifest.dimension), np.float32)
        rows = await self._rows(np.stack(list(crops.values())))
        valid = np.setdiff1d(np.arange(len(rows)), invalid_rows(rows))
        return [numbers[row] for row in valid], rows[valid]

    async def _rows(self, crops: Pixels) -> Embeddings:
        """The model's answer, float32 [N, D]; a picture that it cannot embed has an invalid row."""
        try:
            return await self.encoder.embed(crops)
        except EmbeddingError as error:
            if error.bad_rows is None:
                raise
            rows: Embeddings = error.embeddings
            rows[list(error.bad_rows)] = np.nan
            return rows

    def _crop(self, data: bytes) -> Pixels | None:
        try:
            return frame_crop(data, self.preprocessor)
        except PictureError:
            return None


def kept_name(image: str) -> str:
    """The name of a labelled picture among the kept embeddings.

    Not the picture's digest alone: a picture of the catalogue is decoded in full, a frame at a reduced size, and the
    embeddings differ a little.
    """
    return f"sample-{image}"


def frame_crop(data: bytes, preprocessor: Preprocessor) -> Pixels:
    """A whole picture as it is prepared when a camera sends it: RGB uint8 [H, W, 3]. CPU-bound.

    Raises:
        PictureError: as of `open_picture` and its `decode`.
    """
    opened = open_picture(data, max_pixels=MAX_PIXELS)
    return preprocessor(opened.decode(preprocessor.reduction(opened.height, opened.width)).pixels)


def _parts(numbers: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
