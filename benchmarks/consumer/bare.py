"""The reference: a loop around Triton's own client with the consumer's batches, as many of them in flight."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.bare_triton import Executions, executions_since, read_executions, run_bare
from benchmarks.consumer.plan import Plan
from benchmarks.consumer.run import WARM_UP_BATCHES
from benchmarks.consumer.site import Site
from benchmarks.frames import crop_batches
from benchmarks.steady import steady_rate
from framematch.core.settings import ConsumerSettings
from framematch.vision.preprocess import Preprocessor

_TRIAL_BATCHES = 6


@dataclass(frozen=True)
class BareLoop:
    """Sends pictures that are in memory as the model takes them; `crops` are full batches, uint8 [N, H, W, 3]."""

    url: str
    crops: Sequence[NDArray[np.uint8]]

    @classmethod
    def over(cls, site: Site) -> "BareLoop":
        """With the site's pictures."""
        preprocessor = Preprocessor(site.bundle.preprocess)
        return cls(site.triton.url, crop_batches(site.jpegs, preprocessor, batch_size=site.batch_size))

    async def run(self, batches: int) -> tuple[float, Executions]:
        """Frames a second, and what Triton ran for them.

        Raises:
            FramematchError: Triton counts other pictures than were sent.
        """
        before = await read_executions(self.url)
        in_flight = ConsumerSettings().batches_in_flight
        done = await run_bare(self.url, self.crops, batches=batches, in_flight=in_flight)
        did = await executions_since(self.url, before, pictures=batches * len(self.crops[0]))
        return steady_rate(done, warm_up=WARM_UP_BATCHES), did


async def planned_batches(bare: BareLoop, plan: Plan) -> int:
    """As many batches as the bare loop takes in the time that is planned for a run, by a short trial."""
    frames_per_s, _ = await bare.run(_TRIAL_BATCHES)
    return plan.batches_for(frames_per_s / len(bare.crops[0]))
