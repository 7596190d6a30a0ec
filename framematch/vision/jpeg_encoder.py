"""Embeds regions of JPEGs that Triton decodes (`framematch model build --jpeg`)."""

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import structlog

from framematch.core.arrays import Embeddings, Pixels
from framematch.core.errors import ModelError, ModelMismatchError
from framematch.vision.encoder import ImageEncoder, connect_model
from framematch.vision.manifest import DECODE_MODEL, IMAGE_MODEL, JPEG_MODEL, JPEG_PARAMETER
from framematch.vision.region_rows import JpegManifest, RegionRow
from framematch.vision.triton import TensorShape, TritonModel

_BUILD_HINT = "Build it again with `framematch model build --from BUNDLE --jpeg fast`, or set consumer.decode to client"
log = structlog.get_logger()

_MEASURED = {"content": np.float64, "quality": np.float64, "problem": np.object_}


@dataclass(frozen=True, eq=False)
class Measured:
    """What Triton found out about each row's picture: `CroppedRow` without its pixels."""

    contents: Sequence[float]
    qualities: Sequence[float]
    problems: Sequence[str]


class JpegEncoder(ImageEncoder):
    """An encoder of pictures that also takes regions of JPEGs.

    What one model does with JPEGs, decoding and embedding, can be asked for in one step or, to find a bad picture, in
    two.
    """

    def __init__(self, image: TritonModel, whole: TritonModel, decode: TritonModel, own: JpegManifest) -> None:
        super().__init__(image)
        self._whole = whole
        self._decode = decode
        self.jpeg_manifest = own
        """How Triton prepares pictures."""

    @classmethod
    async def connect(
        cls,
        url: str,
        digest: str | None = None,
        *,
        timeout_s: float = 10.0,
        request_timeout_s: float = 10.0,
        key: str | None = None,
    ) -> Self:
        """Connect as `ImageEncoder.connect`.

        Raises:
            TritonUnavailableError: Triton does not answer, or the model is not ready, in that time.
            ModelError: Triton has no such model, or serves it without the step that decodes JPEGs.
            ModelMismatchError: another model is served under the name of this one.
        """
        async with AsyncExitStack() as opened:
            models: list[TritonModel] = []
            for tower in (IMAGE_MODEL, JPEG_MODEL, DECODE_MODEL):
                try:
                    model = await connect_model(
                        tower, url, digest, timeout_s=timeout_s, request_timeout_s=request_timeout_s, key=key
                    )
                except ModelMismatchError:
                    raise
                except ModelError as error:
                    if not models:
                        raise
                    message = f"Triton at {url} does not decode JPEGs for {models[0].manifest.name}: {error.message}"
                    raise ModelError(message, hint=_BUILD_HINT) from error
                opened.push_async_callback(model.close)
                digest = model.manifest.digest
                models.append(model)
            image, whole, decode = models
            parameters = await whole.parameters()
            if JPEG_PARAMETER not in parameters:
                raise ModelError(f"Triton at {url} does not say how it decodes JPEGs", hint=_BUILD_HINT)
            encoder = cls(image, whole, decode, JpegManifest.from_json(parameters[JPEG_PARAMETER]))
            opened.pop_all()
            return encoder

    def require_preprocessing(self, digest: str) -> None:
        """Check that Triton prepares pictures as `Preprocessor.digest` says.

        Another decoder before the same preprocessing is accepted, as half precision is, and the log says so: embeddings
        differ as little as `framematch model check` accepts.

        Raises:
            ModelMismatchError: it does not.
        """
        own = self.jpeg_manifest
        if own.preprocessing == digest and not own.is_exact:
            log.info("jpegs_decoded_otherwise", decoder=own.decoder, digest=own.digest)
        elif own.digest != digest:
            raise ModelMismatchError(
                f"Triton prepares JPEGs for {self.manifest.name} as {own.variant} ({own.digest[:12]}), and the "
                f"snapshot was built with another preprocessing ({digest[:12]})",
                hint="Build the model with the snapshot's preprocessing as --jpeg, or set consumer.decode to client",
            )

    async def check(self) -> None:
        """Check that Triton still serves the same model, and decodes JPEGs for it.

        Raises: as `ImageEncoder.check`.
        """
        await super().check()
        await self._whole.check()

    async def close(self) -> None:
        """Close the connections."""
        await super().close()
        await self._whole.close()
        await self._decode.close()

    async def embed_regions(self, rows: Sequence[RegionRow]) -> tuple[Embeddings, Measured]:
        """float32 [N, D] and what was measured, in the order of `rows`.

        Rows with a problem have no embedding: theirs is of a black picture. Whether the others are unit vectors is not
        checked.

        Raises:
            TritonUnavailableError: Triton is unreachable, slow or busy; the same call can be retried.
            ModelMismatchError: after a failure Triton serves another model.
            EmbeddingError: the model failed on the batch.
        """
        return await self._run(self._whole, rows, "embedding", TensorShape((self.manifest.dimension,), np.float32))

    async def decode_regions(self, rows: Sequence[RegionRow]) -> tuple[Pixels, Measured]:
        """The pixels uint8 [N, H, W, 3] of the rows as the model takes them, 0 for one with a problem. See above."""
        spec = self.manifest.preprocess
        return await self._run(
            self._decode, rows, "pixels", TensorShape((spec.crop_height, spec.crop_width, 3), np.uint8)
        )

    async def _run(
        self, model: TritonModel, rows: Sequence[RegionRow], output: str, row_shape: TensorShape
    ) -> tuple[npt.NDArray[Any], Measured]:
        await model.check_after_failure()
        answers = []
        for part in self._batches(rows):
            expected = {name: TensorShape((len(part), 1), kind) for name, kind in _MEASURED.items()}
            expected[output] = TensorShape((len(part), *row_shape.shape), row_shape.dtype)
            answers.append(await model.run(_inputs(part), expected))
        arrays = {name: np.concatenate([answer[name] for answer in answers]) for name in (output, *_MEASURED)}
        contents, qualities, problems = (arrays[name].reshape(-1).tolist() for name in _MEASURED)
        return arrays[output], Measured(contents, qualities, [problem.decode() for problem in problems])

    def _batches(self, rows: Sequence[RegionRow]) -> Iterator[Sequence[RegionRow]]:
        step = self._whole.manifest.max_batch_size
        return (rows[first : first + step] for first in range(0, len(rows), step))


def _inputs(rows: Sequence[RegionRow]) -> dict[str, npt.NDArray[Any]]:
    """The tensors of one request. A picture is sent once: in its other rows an empty JPEG stands for the one before.

    So a record that is empty is sent as a byte that is no JPEG.
    """
    before = [None, *(row.jpeg for row in rows[:-1])]
    jpegs = np.empty((len(rows), 1), np.object_)
    jpegs[:, 0] = [b"" if row.jpeg is last else row.jpeg or b"\0" for row, last in zip(rows, before, strict=True)]
    return {
        "jpeg": jpegs,
        "region": np.array([row.box for row in rows], np.int32),
        "reduction": np.array([[row.reduction] for row in rows], np.int32),
    }
