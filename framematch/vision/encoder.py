"""Embeds pictures and texts through Triton."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from framematch.core.arrays import Embeddings, Pixels, invalid_rows
from framematch.core.errors import EmbeddingError, ModelError, ModelMismatchError
from framematch.vision.manifest import IMAGE_MODEL, TEXT_MODEL, ModelManifest, served_name
from framematch.vision.served_models import newest_served
from framematch.vision.triton import TritonModel
from framematch.vision.triton_statistics import ModelStatistics

if TYPE_CHECKING:
    from framematch.vision.tokenizer import Tokenizer


class _Encoder:
    """The parts that both encoders share: the connection, and splitting rows into batches that the model accepts."""

    def __init__(self, model: TritonModel) -> None:
        self._model = model

    @property
    def manifest(self) -> ModelManifest:
        """The served model. Compare it with the index before the first batch."""
        return self._model.manifest

    async def check(self) -> None:
        """Check that Triton still serves the same model.

        Raises:
            TritonUnavailableError: no answer, or the model is not ready.
            ModelMismatchError: another model is served now.
        """
        await self._model.check()

    async def statistics(self) -> ModelStatistics:
        """Triton's counters for the model since it was loaded, for all clients.

        Raises:
            TritonUnavailableError: no answer, or the model is not ready.
            ModelError: this Triton does not publish statistics.
        """
        return await self._model.statistics()

    async def close(self) -> None:
        """Close the connection."""
        await self._model.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _embed(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Embeddings:
        await self._model.check_after_failure()
        rows = len(next(iter(inputs.values())))
        step = self.manifest.max_batch_size
        parts = [
            await self._model.infer({name: array[first : first + step] for name, array in inputs.items()})
            for first in range(0, rows, step)
        ]
        if len(parts) == 1:
            return self._verified(parts[0])
        return self._verified(np.concatenate([np.empty((0, self.manifest.dimension), np.float32), *parts]))

    def _verified(self, embeddings: Embeddings) -> Embeddings:
        bad = invalid_rows(embeddings)
        if bad.size:
            first = embeddings[bad[0]]
            raise EmbeddingError(
                f"{self.manifest.name} returned {bad.size} of {len(embeddings)} embeddings that are no finite unit "
                f"vectors (the first has a squared length of {np.vdot(first, first):g})",
                hint="The model is broken, was not built by framematch, or cannot take these inputs",
                bad_rows=tuple(bad.tolist()),
                embeddings=embeddings,
            )
        return embeddings


class ImageEncoder(_Encoder):
    """Embeds pictures that a `Preprocessor` made with `manifest.preprocess` has cropped."""

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
        """Connect to the model with this digest at Triton's gRPC endpoint `url` (host:port).

        Of the digest (hex) the first 12 digits are enough. Without a digest it is the newest built model that Triton
        serves. It waits up to `timeout_s` until the model is ready. `key` is that of the restricted calls; see
        `TritonModel.connect`.

        Raises:
            TritonUnavailableError: Triton does not answer, or the model is not ready, in that time.
            ModelError: Triton has no such model, or none that framematch built.
            ModelMismatchError: another model is served under the name of this one.
        """
        return cls(
            await connect_model(
                IMAGE_MODEL, url, digest, timeout_s=timeout_s, request_timeout_s=request_timeout_s, key=key
            )
        )

    def require_preprocessing(self, digest: str) -> None:
        """Check that pictures are prepared as `Preprocessor.digest` says: here the caller does that.

        Raises:
            ModelMismatchError: Triton prepares them in another way.
        """

    async def share_memory(self, batches: int) -> None:
        """Send up to `batches` concurrent batches in memory shared with Triton, and any others through gRPC.

        When shared memory cannot be used, as with a Triton on another host, every batch goes through gRPC and the log
        says why.
        """
        spec = self.manifest.preprocess
        batch_bytes = self.manifest.max_batch_size * spec.crop_height * spec.crop_width * 3
        await self._model.share_memory(slots=batches, slot_bytes=batch_bytes)

    async def embed(self, pixels: Pixels) -> Embeddings:
        """RGB uint8 [N, crop_height, crop_width, 3] -> float32 [N, D], each row of unit length, in the same order.

        Raises:
            ValueError: `pixels` has another type or shape.
            TritonUnavailableError: Triton is unreachable, slow or busy; the same call can be retried.
            ModelMismatchError: after a failure Triton serves another model.
            EmbeddingError: the model failed on the pictures, or returned anything but finite unit vectors.
        """
        spec = self.manifest.preprocess
        expected = (spec.crop_height, spec.crop_width, 3)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != expected:
            raise ValueError(f"expected uint8 [N, {expected}], got {pixels.dtype} {list(pixels.shape)}")
        return await self._embed({"pixels": pixels})


class TextEncoder(_Encoder):
    """Embeds texts with the tokenizer of the bundle that the served model was built from."""

    def __init__(self, model: TritonModel, tokenizer: "Tokenizer") -> None:
        super().__init__(model)
        self._tokenizer = tokenizer

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
        """Connect as `ImageEncoder.connect`. The tokenizer comes from the served model too.

        Raises:
            TritonUnavailableError: Triton does not answer, or the model is not ready, in that time.
            ModelError: Triton has no such model, or none that framematch built; or it has no text tower.
            ModelMismatchError: another model is served under the name of this one.
        """
        # The package takes 3 MB and 5 ms, and a consumer has no texts.
        from framematch.vision.served_tokenizer import unpack_tokenizer  # noqa: PLC0415

        model = await connect_model(
            TEXT_MODEL, url, digest, timeout_s=timeout_s, request_timeout_s=request_timeout_s, key=key
        )
        try:
            tokenizer = unpack_tokenizer(await model.parameters(), model.manifest)
        except BaseException:
            await model.close()
            raise
        return cls(model, tokenizer)

    @property
    def tokenizer(self) -> "Tokenizer":
        """The tokenizer of the served model."""
        return self._tokenizer

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Texts -> float32 [N, D], each row of unit length, in the same order. Longer texts are cut.

        Raises:
            TritonUnavailableError: Triton is unreachable, slow or busy; the same call can be retried.
            ModelMismatchError: after a failure Triton serves another model.
            EmbeddingError: the model failed on the texts, or returned anything but finite unit vectors.
        """
        if not texts:
            return np.empty((0, self.manifest.dimension), np.float32)
        input_ids, attention_mask = self._tokenizer(texts)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        return await self._embed({name: array for name, array in inputs.items() if name in self._model.input_names})


async def connect_model(
    tower: str, url: str, digest: str | None, *, timeout_s: float, request_timeout_s: float, key: str | None
) -> TritonModel:
    """Connect to a tower of the model with this digest; for the arguments and errors see `ImageEncoder.connect`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    if digest is None:
        newest = (await newest_served(url, timeout_s=timeout_s, key=key)).manifest
        if tower == TEXT_MODEL and newest.context_length is None:
            raise ModelError(
                f"the newest model at {url}, {newest.name} ({newest.digest[:12]}), has no text tower",
                hint="Build a model with a text tower, or choose another one by its digest",
            )
        digest = newest.digest
    model = await TritonModel.connect(
        url,
        served_name(tower, digest),
        timeout_s=max(0.0, deadline - loop.time()),
        request_timeout_s=request_timeout_s,
        key=key,
    )
    if not model.manifest.digest.startswith(digest):
        await model.close()
        raise ModelMismatchError(
            f"Triton at {url} serves {model.manifest.name} ({model.manifest.digest}) under the name of the model "
            f"{digest}",
            hint="A name belongs to one model: build the model of this digest again",
        )
    return model
