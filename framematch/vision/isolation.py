"""Poison isolation: when a batch fails, finds the pictures that the model cannot embed."""

from collections.abc import Callable, Sequence

import numpy as np
import structlog

from framematch.core.arrays import Embeddings, Pixels, invalid_rows
from framematch.core.errors import EmbeddingError
from framematch.vision.encoder import ImageEncoder
from framematch.vision.jpeg_encoder import JpegEncoder, Measured
from framematch.vision.region_rows import RegionRow

_PAIR = 2

log = structlog.get_logger()


async def embed_isolating(encoder: ImageEncoder, crops: Pixels) -> tuple[Embeddings, frozenset[int]]:
    """Embed RGB uint8 [N, H, W, 3]; returns float32 [N, D] and the rows of invalid pictures, which are NaN.

    A search finds nothing for NaN, so the others can be searched with them.

    A batch with a good answer takes one call. Otherwise each picture without an embedding is sent again, together with
    a control picture. A picture is invalid when the model embeds the control and fails on the picture again. When the
    model fails on both, they are sent one at a time.

    Raises:
        EmbeddingError: the model cannot embed the control picture either, so the model is broken. Retry when it works.
        TritonUnavailableError: as `ImageEncoder.embed`.
        ModelMismatchError: as `ImageEncoder.embed`.
    """
    try:
        return await encoder.embed(crops), frozenset()
    except EmbeddingError as error:
        return await _embed_suspects(encoder, crops, error)


async def embed_regions_isolating(
    encoder: JpegEncoder, rows: Sequence[RegionRow], needed: Callable[[float, float], bool]
) -> tuple[Embeddings, frozenset[int], Measured]:
    """Embed regions of JPEGs; as `embed_isolating`, and what was measured of each row.

    Rows with a problem, and those whose content and quality are not `needed`, are NaN, but not invalid. A batch with a
    good answer takes one call. Otherwise Triton's two steps are called one after the other, and the pictures of the
    first are isolated as ever.

    Raises: as `embed_isolating`.
    """
    try:
        embeddings, measured = await encoder.embed_regions(rows)
    except EmbeddingError:
        pass
    else:
        wanted = _wanted_rows(measured, needed)
        if not set(invalid_rows(embeddings)).intersection(wanted):
            return _only(wanted, embeddings[wanted], len(rows)), frozenset(), measured
    pixels, measured = await encoder.decode_regions(rows)
    wanted = _wanted_rows(measured, needed)
    if not wanted:
        return np.full((len(rows), encoder.manifest.dimension), np.nan, np.float32), frozenset(), measured
    embeddings, invalid = await embed_isolating(encoder, pixels[wanted])
    return _only(wanted, embeddings, len(rows)), frozenset(wanted[row] for row in invalid), measured


def _wanted_rows(measured: Measured, needed: Callable[[float, float], bool]) -> list[int]:
    found = zip(measured.problems, measured.contents, measured.qualities, strict=True)
    return [row for row, (problem, content, quality) in enumerate(found) if not problem and needed(content, quality)]


def _only(wanted: Sequence[int], embeddings: Embeddings, rows: int) -> Embeddings:
    """The embeddings of the rows `wanted` at their places among all; the others are NaN."""
    found = np.full((rows, embeddings.shape[1]), np.nan, np.float32)
    found[wanted] = embeddings
    return found


async def _embed_suspects(
    encoder: ImageEncoder, crops: Pixels, error: EmbeddingError
) -> tuple[Embeddings, frozenset[int]]:
    suspects: Sequence[int] = range(len(crops))
    embeddings = np.full((len(crops), encoder.manifest.dimension), np.nan, np.float32)
    if error.bad_rows is not None:
        suspects, embeddings = error.bad_rows, error.embeddings
        embeddings[list(suspects)] = np.nan
    invalid = set()
    for row in suspects:
        found = await _embed_beside_control(encoder, crops[row])
        if found is None:
            invalid.add(row)
        else:
            embeddings[row] = found
    log.warning("pictures_isolated", error=error.message, suspects=len(suspects), invalid=len(invalid))
    return embeddings, frozenset(invalid)


async def _embed_beside_control(encoder: ImageEncoder, crop: Pixels) -> Embeddings | None:
    """The embedding [D] of one picture, or None when the picture is invalid."""
    control = _control_picture(crop.shape)
    if encoder.manifest.max_batch_size < _PAIR:
        return await _embed_between_controls(encoder, crop, control)
    try:
        found: Embeddings = (await encoder.embed(np.stack([crop, control])))[0]
    except EmbeddingError as error:
        if error.bad_rows is None:  # an invalid picture can make the model fail on both
            return await _embed_between_controls(encoder, crop, control)
        if error.bad_rows != (0,):
            raise _broken(error) from error
        return None
    return found


async def _embed_between_controls(encoder: ImageEncoder, crop: Pixels, control: Pixels) -> Embeddings | None:
    """The same with one picture per call. The control is sent before and after, as the model may break in between."""
    await _require_embedding(encoder, control)
    try:
        found: Embeddings = (await encoder.embed(crop[None]))[0]
    except EmbeddingError:
        await _require_embedding(encoder, control)
        return None
    return found


async def _require_embedding(encoder: ImageEncoder, control: Pixels) -> None:
    try:
        await encoder.embed(control[None])
    except EmbeddingError as error:
        raise _broken(error) from error


def _broken(error: EmbeddingError) -> EmbeddingError:
    return EmbeddingError(
        f"{error.message}; the control picture fails too, so the model is broken",
        hint="See Triton's log; build the model again, or restart Triton",
    )


def _control_picture(shape: tuple[int, ...]) -> Pixels:
    """Always the same noise. A flat picture would not do: some layers turn it into zeros."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
