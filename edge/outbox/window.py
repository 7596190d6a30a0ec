"""Bounds what is in memory on its way to Kafka, over all cameras: frames and their bytes."""

import asyncio


class _Budget:
    def __init__(self, frames_max: int, bytes_max: int) -> None:
        self.frames_max = frames_max
        self.bytes_max = bytes_max
        self.frames = self.bytes = 0

    def fits(self, frames: int, size_bytes: int) -> bool:
        """One frame always fits into an empty budget, whatever its size."""
        return not self.frames or (
            self.frames + frames <= self.frames_max and self.bytes + size_bytes <= self.bytes_max
        )

    def change(self, frames: int, size_bytes: int) -> None:
        self.frames += frames
        self.bytes += size_bytes


class Window:
    """Room for `frames_max` frames and `bytes_max` bytes; what is replayed from disk gets half of it at most.

    For one event loop.
    """

    def __init__(self, frames_max: int, bytes_max: int) -> None:
        self._all = _Budget(frames_max, bytes_max)
        self._replay = _Budget(max(1, frames_max // 2), max(1, bytes_max // 2))
        self._freed = asyncio.Event()

    @property
    def frames(self) -> int:
        """Frames inside."""
        return self._all.frames

    @property
    def replay_max(self) -> tuple[int, int]:
        """What may come from disk: frames, bytes."""
        return self._replay.frames_max, self._replay.bytes_max

    def try_take(self, frames: int, size_bytes: int, *, replay: bool = False) -> bool:
        """Take room, or return False when there is none."""
        if not self._all.fits(frames, size_bytes) or (replay and not self._replay.fits(frames, size_bytes)):
            return False
        self._change(frames, size_bytes, replay=replay)
        return True

    def add(self, frames: int, size_bytes: int, *, replay: bool = False) -> None:
        """Take room even if there is none."""
        self._change(frames, size_bytes, replay=replay)

    async def freed(self) -> None:
        """Return when something has left."""
        self._freed.clear()
        await self._freed.wait()

    def release(self, frames: int, size_bytes: int, *, replay: bool = False) -> None:
        """Give room back."""
        self._change(-frames, -size_bytes, replay=replay)
        self._freed.set()

    def _change(self, frames: int, size_bytes: int, *, replay: bool) -> None:
        self._all.change(frames, size_bytes)
        if replay:
            self._replay.change(frames, size_bytes)
