"""Connected encoders, one for each model, shared by the snapshots that need it."""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from framematch.matching.serving.opener import Connect
from framematch.vision.encoder import ImageEncoder


class EncoderPool:
    """Connects to a model when a snapshot needs it, and closes what no snapshot uses any more."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connecting = asyncio.Lock()  # two snapshots of one model share a connection
        self._encoders: dict[str, ImageEncoder] = {}
        self._opening = 0

    @contextmanager
    def opening(self) -> Iterator[None]:
        """While a snapshot is being opened nothing is closed: it may have an encoder that nothing else uses."""
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1

    async def get(self, model_digest: str) -> ImageEncoder:
        """The encoder of the model with this digest.

        Raises:
            ModelError: Triton does not serve it.
            TritonUnavailableError: Triton does not answer, or the model is not ready.
        """
        async with self._connecting:
            if model_digest not in self._encoders:
                self._encoders[model_digest] = await self._connect(model_digest)
            return self._encoders[model_digest]

    async def close_unused(self, used: Collection[ImageEncoder]) -> None:
        """Close those that are not among `used`, unless a snapshot is being opened."""
        if self._opening:
            return
        for digest, encoder in list(self._encoders.items()):
            if encoder not in used:
                del self._encoders[digest]
                await encoder.close()

    async def close(self) -> None:
        """Close all."""
        self._opening = 0
        await self.close_unused(())
