"""The two sides of the consumer's benchmark over one running stack, and the proof that they did the same work."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.bare_triton import Executions, read_executions, run_bare
from benchmarks.consumer_side import batches_of, consume_all
from benchmarks.harness import Figure
from benchmarks.steady import steady_rate
from demo.services import service_environment
from framematch.core.errors import FramematchError
from framematch.core.local_stack import LocalStack
from framematch.core.settings import ConsumerSettings, KafkaSettings

WARM_UP_BATCHES = 2


@dataclass
class Sides:
    """Measures one side at a time; `batches` is how many full batches a run takes, its warm-up included."""

    stack: LocalStack
    triton_url: str
    kafka: KafkaSettings
    consumer: ConsumerSettings
    crops: Sequence[NDArray[np.uint8]]
    batches: int
    folder: Path
    _seen: dict[tuple[str, str], list[float]] = field(default_factory=dict, init=False)

    @property
    def frames(self) -> int:
        """Of one run."""
        return self.batches * self.consumer.batch_size

    def figures(self) -> dict[str, Figure]:
        """What was seen beside the rates: stages and batches of the consumer, and what Triton ran for each side."""
        return {name: Figure.of(values, unit) for (name, unit), values in self._seen.items()}

    def run_consumer(self) -> float:
        """Frames a second of a new consumer process in a new group."""
        return uvloop.run(self._run_consumer())

    def run_reference(self) -> float:
        """Frames a second of the loop around Triton's client."""
        return uvloop.run(self._run_reference())

    async def _run_consumer(self) -> float:
        before = await read_executions(self.triton_url)
        environment = service_environment(self.folder / "state", self.stack)
        consumed = await consume_all(self.kafka, self.frames, environment=environment, logs=self.folder)
        batches = batches_of(consumed.events)
        for stage in batches[0].timings_ms:
            self._see(f"{stage}_time", "ms", *(batch.timings_ms[stage] for batch in batches))
        self._see("consumer_batch", "frames", mean(batch.done.frames for batch in batches))
        self._see("consumer_cpu", "ms/frame", 1_000 * consumed.cpu_s / self.frames)
        await self._check("consumer", before)
        return steady_rate([batch.done for batch in batches], warm_up=WARM_UP_BATCHES)

    async def _run_reference(self) -> float:
        before = await read_executions(self.triton_url)
        in_flight = self.consumer.batches_in_flight
        done = await run_bare(self.triton_url, self.crops, batches=self.batches, in_flight=in_flight)
        await self._check("reference", before)
        return steady_rate(done, warm_up=WARM_UP_BATCHES)

    async def _check(self, side: str, before: Executions) -> None:
        did = (await read_executions(self.triton_url)).since(before)
        if did.pictures != self.frames:
            raise FramematchError(f"Triton computed {did.pictures} pictures for the {side}, not {self.frames}")
        self._see(f"{side}_model_run", "frames", did.pictures / did.runs)

    def _see(self, name: str, unit: str, *values: float) -> None:
        self._seen.setdefault((name, unit), []).extend(values)
