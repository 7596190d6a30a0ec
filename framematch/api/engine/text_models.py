"""The text tower of the served model, connected when the first text is searched for."""

import asyncio

from framematch.api.problems import Problem
from framematch.core.settings import Settings
from framematch.core.settings_sources import require
from framematch.matching.search import TextSearch
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.vision.encoder import TextEncoder


class TextModels:
    """The text model of the snapshot that was served last; another one replaces it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connecting = asyncio.Lock()
        self._encoder: TextEncoder | None = None
        self._search: TextSearch | None = None

    async def get(self, served: ServedSnapshot) -> TextSearch:
        """The text model that fits to this snapshot.

        Raises:
            Problem: 409, it has none.
            ModelError: Triton does not serve it.
            TritonUnavailableError: Triton does not answer.
        """
        if served.encoder.manifest.context_length is None:
            raise Problem(
                409, "no_text_model", f"the model {served.model.name} has no text tower",
                hint="Search by a picture, or build a model with a text tower and an index with it",
            )  # fmt: skip
        async with self._connecting:
            if self._search is None or self._encoder is None or self._encoder.manifest.digest != served.model.digest:
                await self.close()
                triton = self._settings.triton
                self._encoder = await TextEncoder.connect(
                    require(triton.url, "triton.url"), served.model.digest, timeout_s=triton.timeout_s,
                    request_timeout_s=triton.timeout_s, key=triton.key,
                )  # fmt: skip
                self._search = TextSearch(self._encoder)
            return self._search

    async def close(self) -> None:
        """Close the connection."""
        encoder, self._encoder, self._search = self._encoder, None, None
        if encoder is not None:
            await encoder.close()
