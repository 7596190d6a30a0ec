"""A process that embeds through shared memory: `python -m tests.integration.shared_memory_program URL KEY`.

For each line on standard input, it embeds the same pictures and prints their embeddings as one line of hex.
"""

import asyncio
import sys

import numpy as np
import numpy.typing as npt
import structlog

from framematch.vision.encoder import ImageEncoder

BATCHES = 2


def pictures(side: int) -> npt.NDArray[np.uint8]:
    """Four pictures, the same in each process."""
    return np.random.default_rng(5).integers(0, 256, (4, side, side, 3), dtype=np.uint8)


async def embed_on_demand(url: str, key: str) -> None:
    async with await ImageEncoder.connect(url, key=key) as encoder:
        await encoder.share_memory(BATCHES)
        crops = pictures(encoder.manifest.preprocess.crop_width)
        while await asyncio.to_thread(sys.stdin.readline):
            print((await encoder.embed(crops)).tobytes().hex(), flush=True)  # noqa: T201  # the answer


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(embed_on_demand(*sys.argv[1:]))
