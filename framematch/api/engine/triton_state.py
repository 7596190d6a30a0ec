"""Whether Triton serves the model: asked every second, so that nobody has to wait to find out that it does not."""

import asyncio
from collections.abc import Callable

import structlog

from framematch.core.errors import FramematchError, ModelError, TritonUnavailableError
from framematch.core.health import Health
from framematch.core.lifecycle import raise_if_cancelled
from framematch.matching.serving.served_snapshot import ServedSnapshot

log = structlog.get_logger()

HEALTH_PART = "triton"
INTERVAL_S = 1.0
ANSWER_TIMEOUT_S = 2.0
"""Triton answers within milliseconds, whatever it computes; if not, it is frozen or cut off."""


class TritonState:
    """Knows whether Triton serves the model of the active snapshot."""

    def __init__(self, active: Callable[[], ServedSnapshot | None], health: Health) -> None:
        self._active = active
        self._health = health
        self._error: FramematchError | None = None
        self._away = asyncio.Event()
        self._doubt = asyncio.Event()

    def check(self) -> None:
        """Return if it does, as far as is known.

        Raises:
            TritonUnavailableError, ModelError: it does not.
        """
        if self._error is not None:
            raise type(self._error)(self._error.message, hint=self._error.hint)

    def doubt(self) -> None:
        """Ask at once: a call has failed."""
        self._doubt.set()

    async def until_away(self) -> None:
        """Wait until it does not, and raise as `check`."""
        await self._away.wait()
        self.check()

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            self._doubt.clear()
            self._set(await self._ask())
            raise_if_cancelled()
            try:
                async with asyncio.timeout(INTERVAL_S):
                    await self._doubt.wait()
            except TimeoutError:
                continue

    async def _ask(self) -> FramematchError | None:
        served = self._active()
        if served is None:
            return None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await served.encoder.check()
        except TimeoutError:
            return TritonUnavailableError(f"Triton does not answer within {ANSWER_TIMEOUT_S:g} s")
        except (TritonUnavailableError, ModelError) as error:
            return error
        return None

    def _set(self, error: FramematchError | None) -> None:
        if error is None:
            if self._error is not None:
                log.info("triton_available")
            self._away.clear()
            self._health.set_ready(HEALTH_PART)
        else:
            if self._error is None:
                log.warning("triton_unavailable", error=error.message, hint=error.hint)
            self._away.set()
            self._health.set_not_ready(HEALTH_PART, error.message)
        self._error = error
