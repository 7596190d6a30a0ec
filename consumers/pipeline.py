"""The way of a frame through a consumer, in order: fetch, prepare, infer, answer, deliver.

    Intake ──► InFlight ──► prepare ──► Batcher ──► infer ──► answer ──► Delivery ──► Kafka
    (fetch)    (turns)      (threads)   (regions)   (Triton,  (events,   (publish, acknowledge, commit)
                                                     FAISS)   in order)

Each stage is a loop below; between two of them stands a queue without I/O. A stage that is full makes the one before
wait, down to the fetching.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer

from consumers.delivery.at_least_once import AtLeastOnce
from consumers.delivery.delivery import Delivery, DeliveryContext
from consumers.delivery.exactly_once import ExactlyOnce
from consumers.delivery.outputs import Outputs
from consumers.in_flight import InFlight
from consumers.intake import Intake, Positions
from consumers.metrics import ConsumerMetrics
from consumers.sightings.stage import Sightings
from consumers.stages.answers import Answer, Answers
from consumers.stages.batcher import Batcher, RegionOf
from consumers.stages.inference import Inference
from consumers.stages.prepare import Preparer
from consumers.stages.reuse import Leader, Reuse
from consumers.stages.still import StillScenes
from consumers.watch.gpu_hint import ConsumerLoad
from consumers.watch.watchdog import Progress, Watchdog
from consumers.work import Work
from framematch.core.health import Health
from framematch.core.kafka.topics import Topics
from framematch.core.settings import ConsumerSettings, KafkaSettings
from framematch.core.timestamps import now_us

_TICK_S = 1.0
_BATCHES_AHEAD = 2  # regions prepared and not yet in a batch, in batches: enough that none waits for a decoder


@dataclass(frozen=True)
class Parts:
    """What the stages work with."""

    consumer: AIOKafkaConsumer
    preparer: Preparer
    decode_threads: Executor
    inference: Inference
    answers: Answers
    sightings: Sightings
    outputs: Outputs
    watchdog: Watchdog


class Pipeline:
    """Runs the stages for one member of the consumer group."""

    def __init__(
        self,
        parts: Parts,
        *,
        kafka: KafkaSettings,
        settings: ConsumerSettings,
        metrics: ConsumerMetrics,
        health: Health,
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._metrics = metrics
        self._in_flight = InFlight(
            max_frames=settings.in_flight_max, max_bytes=int(settings.in_flight_max_mb * 1_000_000)
        )
        self._batcher = Batcher(batch_size=settings.batch_size, window_s=settings.batch_window_ms / 1_000)
        scenes = StillScenes[Leader](max_age_s=settings.reuse_still_s) if settings.reuse_still else None
        self._reuse = Reuse(scenes)
        self._ready: deque[Work] = deque()
        self._fetched, self._room, self._prepared, self._decided = (asyncio.Event() for _ in range(4))
        self._forming = asyncio.Lock()
        self._delivered = self._inferring = 0
        context = DeliveryContext(
            consumer=parts.consumer,
            outputs=parts.outputs,
            on_delivered=self._on_delivered,
            kafka=kafka,
            settings=settings,
            metrics=metrics,
            health=health,
        )
        exactly_once = settings.delivery == "exactly_once"
        self._delivery: Delivery = ExactlyOnce(context) if exactly_once else AtLeastOnce(context)
        self._intake = Intake(
            parts.consumer,
            topic=Topics(kafka.topic_prefix).frames,
            kafka=kafka,
            settings=settings,
            in_flight=self._in_flight,
            delivery=self._delivery,
            on_assigned=self._on_assigned,
            on_fetched=self._fetched.set,
            on_revoked=self._on_revoked,
            metrics=metrics,
            health=health,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what some stage works on, and commit it.

        Raises:
            KafkaUnavailableError: Kafka is away at the start, or refuses us.
            ModelMismatchError: Triton serves another model.
            StalledError: nothing moves though there is work and every server answers.
        """
        async with asyncio.TaskGroup() as group:
            stages = [
                *(self._prepare() for _ in range(2 * self._settings.decode_threads)),
                *(self._infer() for _ in range(self._settings.batches_in_flight)),
                self._answer(),
                self._delivery.run(),
                self._tick(),
                self._parts.watchdog.run(self.progress),
            ]
            tasks = [group.create_task(stage) for stage in stages]
            await self._intake.run(stop)
            for task in tasks:
                task.cancel()

    async def progress(self) -> Progress:
        """How far it has come, for the watchdog."""
        positions = await self._intake.positions()
        return Progress(self._intake.fetched, self._delivered, len(self._in_flight), positions)

    def load(self) -> ConsumerLoad:
        """How much there is to do, for the GPU's monitor."""
        waiting = sum(self._intake.lag().values()) + self._in_flight.waiting
        return ConsumerLoad(waiting, 100 * self._inferring / self._settings.batches_in_flight)

    async def _prepare(self) -> None:
        """Decode and crop the next frame, in turn over the lanes."""
        loop = asyncio.get_running_loop()
        while True:
            work = await self._next_work()
            work.spans["wait"] = (work.fetched_ns, time.time_ns())
            await loop.run_in_executor(self._parts.decode_threads, self._parts.preparer.prepare, work)
            begin_ns, end_ns = work.spans["decode"]
            self._metrics.stage_seconds.labels("decode").observe((end_ns - begin_ns) / 1e9)
            if self._is_ours(work):
                self._in_flight.weigh(work)
                self._batch(self._reuse.admit(work))
            if work.complete:
                self._finish(work)

    def _batch(self, regions: Iterable[RegionOf]) -> None:
        self._batcher.add(regions, time.monotonic())
        self._prepared.set()

    async def _next_work(self) -> Work:
        while True:
            if len(self._batcher) >= _BATCHES_AHEAD * self._settings.batch_size:
                self._room.clear()
                await self._room.wait()
            elif work := self._in_flight.take():
                return work
            else:
                self._fetched.clear()
                await self._fetched.wait()

    async def _infer(self) -> None:
        """Put a batch through the model and the index; several of these loops run side by side."""
        while True:
            async with self._forming:
                batch = await self._next_batch()
            self._metrics.batch_regions.observe(len(batch))
            with self._counted_as_inferring():
                await self._parts.inference.decide(batch)
            settled = self._reuse.settle(batch)
            self._batch(settled.to_infer)
            for work in {region.work for region in batch} | settled.decided:
                if work.complete:
                    self._finish(work)

    @contextmanager
    def _counted_as_inferring(self) -> Iterator[None]:
        self._inferring += 1
        try:
            yield
        finally:
            self._inferring -= 1

    async def _next_batch(self) -> list[RegionOf]:
        """Wait until a batch is full, or its oldest frame has waited long enough."""
        while (due_in_s := self._batcher.due_in_s(time.monotonic())) != 0:
            self._prepared.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(due_in_s):
                    await self._prepared.wait()
        batch = self._batcher.take()
        self._room.set()
        now_ns = time.time_ns()
        for region in batch:
            spans = region.work.spans
            spans["batch"] = (spans["decode"][1], now_ns)
        return batch

    def _finish(self, work: Work) -> None:
        """All is known of this frame: its pictures can go, and it is answered after those before it."""
        work.crops = ()
        self._in_flight.weigh(work)
        if self._is_ours(work):
            self._ready.extend(self._in_flight.finished(work))
            self._decided.set()

    async def _answer(self) -> None:
        """Make events of what is decided, a lane's frames in their order, and hand them to the delivery."""
        while True:
            if not self._ready:
                self._decided.clear()
                await self._decided.wait()
                continue
            works = [work for work in self._ready if self._is_ours(work)]
            self._ready.clear()
            metadata = await self._parts.answers.look_up(works)
            # Another consumer may have them by now; then our sightings must not go on with them.
            await self._deliver([self._parts.answers.answer(work, metadata) for work in works if self._is_ours(work)])

    async def _deliver(self, answers: list[Answer]) -> None:
        if answers:
            await self._delivery.deliver(answers)

    def _on_delivered(self, answer: Answer) -> None:
        work = answer.work
        if work is None:
            return
        self._delivered += 1
        self._in_flight.done(work)
        if work.bad is not None:
            self._metrics.frames.labels("deadletter", work.bad.reason).inc()
        elif work.skipped is not None:
            self._metrics.frames.labels("skipped", work.skipped).inc()
        else:
            self._metrics.frames.labels("answered", "").inc()
            if work.frame is not None:
                self._metrics.age_seconds.observe((now_us() - work.frame.arrived_at_us) / 1_000_000)

    async def _on_assigned(self, positions: Positions) -> None:
        await self._parts.sightings.recall(positions)

    def _on_revoked(self) -> None:
        self._batcher.clear()
        self._reuse.clear()
        self._ready.clear()
        self._parts.sightings.forget()
        self._room.set()

    async def _tick(self) -> None:
        """Once a second: measure, and end the sightings of cameras that have fallen silent."""
        while True:
            await asyncio.sleep(_TICK_S)
            await self._intake.measure()
            lag = self._intake.lag()
            for partition, frames in lag.items():
                self._metrics.lag.labels(str(partition.partition)).set(frames)
            self._metrics.in_flight.set(len(self._in_flight))
            self._metrics.in_flight_bytes.set(self._in_flight.size_bytes)
            caught_up = {partition for partition, frames in lag.items() if not frames} - self._in_flight.partitions
            await self._deliver(self._parts.sightings.of_silent_cameras(caught_up))

    def _is_ours(self, work: Work) -> bool:
        return work.epoch == self._intake.epoch
