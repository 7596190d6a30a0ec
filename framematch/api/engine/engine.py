"""Embeds and searches what many requests want, together."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from framematch.api.engine.gatherer import Gatherer
from framematch.api.engine.triton_state import TritonState
from framematch.core.arrays import Embeddings, Pixels
from framematch.core.errors import TritonUnavailableError
from framematch.core.lifecycle import first_of
from framematch.matching.match_pictures import Found, Picture, PreparedPicture, prepare_picture
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.pictures.stored import FORMATS_OF_REQUESTS
from framematch.vision.encoder import ImageEncoder
from framematch.vision.isolation import embed_isolating
from framematch.vision.preprocess import Preprocessor

_BATCHES_AT_ONCE = 2  # while Triton computes one, the next one is on its way
_SEARCH_ROWS = 256


@dataclass(frozen=True)
class _Search:
    served: ServedSnapshot
    k: int
    among: frozenset[str] | None


class SharedEngine:
    """The engine of all requests (`framematch.matching.match_pictures.Engine`).

    A request that is given up, by its client or its deadline, is dropped before each of the three steps.
    """

    def __init__(
        self, *, decode_threads: Executor, search_thread: Executor, triton: TritonState, batch_size: int
    ) -> None:
        self._decode_threads = decode_threads
        self._search_thread = search_thread
        self._triton = triton
        self._embedding = Gatherer(self._embed_batch, max_items=batch_size, at_once=_BATCHES_AT_ONCE)
        self._searching = Gatherer(self._search_batch, max_items=_SEARCH_ROWS, at_once=1)

    async def run(self) -> None:
        """Serve the requests until cancelled."""
        async with asyncio.TaskGroup() as group:
            for part in (self._embedding.serve(), self._searching.serve(), self._triton.run()):
                group.create_task(part)

    @property
    def waiting(self) -> int:
        """How many crops wait for a batch."""
        return self._embedding.waiting

    async def prepare(self, picture: Picture, preprocessor: Preprocessor) -> PreparedPicture:
        """As `prepare_picture`, of the formats that anybody may send."""
        self._triton.check()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._decode_threads, prepare_picture, picture, preprocessor, FORMATS_OF_REQUESTS
        )

    async def embed(self, served: ServedSnapshot, crops: Sequence[Pixels]) -> list[Embeddings | None]:
        """The embedding float32 [D] of each crop, and None for one that the model cannot embed.

        Raises:
            TritonUnavailableError: Triton does not answer; nobody waits for it.
            ModelError: it does not serve the model any more, or the model is broken.
        """
        self._triton.check()
        return await self._embedding.submit(served.encoder, crops)

    async def nearest(
        self, served: ServedSnapshot, rows: Embeddings, k: int, among: frozenset[str] | None
    ) -> list[Found]:
        """The `k` nearest products of each row."""
        return await self._searching.submit(_Search(served, k, among), list(rows))

    async def _embed_batch(self, encoder: ImageEncoder, crops: Sequence[Pixels]) -> Sequence[Embeddings | None]:
        found: list[Embeddings | None] = []
        await first_of(self._embed_into(found, encoder, np.stack(crops)), self._triton.until_away())
        return found

    async def _embed_into(self, found: list[Embeddings | None], encoder: ImageEncoder, crops: Pixels) -> None:
        try:
            embeddings, invalid_rows = await embed_isolating(encoder, crops)
        except TritonUnavailableError:
            self._triton.doubt()
            raise
        found += [None if row in invalid_rows else one for row, one in enumerate(embeddings)]

    async def _search_batch(self, key: _Search, rows: Sequence[Embeddings]) -> Sequence[Found]:
        loop = asyncio.get_running_loop()
        search = key.served.matcher.search
        return await loop.run_in_executor(self._search_thread, search, np.stack(rows), key.k, key.among)
