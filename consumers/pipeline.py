"""The data flow of a consumer, in order: fetch, prepare, infer, build results, deliver.

    FrameConsumer ──► InFlight ──► prepare ──► Batcher ──► infer ──► ready ──► build results ──► Delivery ──► Kafka
    (fetch)           (by key,     (threads)   (regions)   (Triton,  (in       (events,          (publish,
                       in turn)                             FAISS)    order)    sightings)        acknowledge, commit)

Each stage is a loop below. The queues between them belong to an `Assignment`; a loop takes from the current one. A full
queue makes the stage before it wait, back to the fetching.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from consumers.assignment import Assignment, State
from consumers.delivery.at_least_once import AtLeastOnce
from consumers.delivery.delivery import Delivery, DeliveryContext
from consumers.delivery.exactly_once import ExactlyOnce
from consumers.delivery.output_partitions import OutputPartitions
from consumers.delivery.record_encoder import RecordEncoder
from consumers.frame_consumer import FrameConsumer
from consumers.in_flight_frame import InFlightFrame, Rejected, Skipped
from consumers.metrics import ConsumerMetrics
from consumers.monitoring.gpu_hint import ConsumerLoad
from consumers.monitoring.watchdog import Progress, Watchdog
from consumers.stages.inference import Inference
from consumers.stages.prepare import Preparer
from consumers.stages.results import FrameResult, ResultBuilder
from framematch.core.health import Health
from framematch.core.kafka.protocols import GroupConsumer
from framematch.core.kafka.topics import Topics
from framematch.core.lifecycle import raise_if_cancelled
from framematch.core.settings import ConsumerSettings, KafkaSettings
from framematch.core.timestamps import now_us
from framematch.core.units import NS_PER_S, US_PER_S
from framematch.matching.serving.served_snapshot import ServedSnapshot

_MEASURE_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Components:
    """What the stages work with. `served` returns the snapshot that the next frame is decided with.

    `decode_threads` is None when Triton decodes: what is left takes less time than handing it to a thread.
    """

    consumer: GroupConsumer
    served: Callable[[], ServedSnapshot]
    preparer: Preparer
    decode_threads: Executor | None
    inference: Inference
    results: ResultBuilder
    encoder: RecordEncoder
    watchdog: Watchdog


class Pipeline:
    """Runs the stages for one member of the consumer group."""

    def __init__(
        self,
        components: Components,
        *,
        kafka: KafkaSettings,
        settings: ConsumerSettings,
        metrics: ConsumerMetrics,
        health: Health,
    ) -> None:
        self._components = components
        self._settings = settings
        self._metrics = metrics
        self._decode_seconds = metrics.stage_seconds.labels("decode")  # `labels` takes longer than to count
        self._answered = metrics.frames.labels("answered", "")
        self._measured = asyncio.Event()
        self._delivered = self._inferring = 0
        context = DeliveryContext(
            offset_store=components.consumer,
            encoder=components.encoder,
            partitions=OutputPartitions(Topics(kafka.topic_prefix), lambda: self._consumer.frames_partitions),
            on_delivered=self._on_delivered,
            kafka=kafka,
            settings=settings,
            metrics=metrics,
            health=health,
        )
        exactly_once = settings.delivery == "exactly_once"
        self._delivery: Delivery = ExactlyOnce(context) if exactly_once else AtLeastOnce(context)
        self._consumer = FrameConsumer(
            components.consumer, self._delivery, kafka=kafka, settings=settings, metrics=metrics, health=health
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Process frames until `stop` is set, then finish and commit those that a stage works on.

        Raises:
            KafkaUnavailableError: Kafka is unreachable at the start, or refuses access.
            ModelMismatchError: Triton serves another model.
            StalledError: nothing moves though there is work and every server answers.
        """
        async with asyncio.TaskGroup() as group:
            stages = [
                *(self._prepare() for _ in range(2 * self._settings.decode_threads)),
                *(self._infer() for _ in range(self._settings.batches_in_flight)),
                self._build_results(),
                self._delivery.run(),
                self._measure(),
                self._end_silent_sightings(),
                self._components.watchdog.run(self.progress),
                self._consumer.pulse.run(),
            ]
            tasks = [group.create_task(stage) for stage in stages]
            await self._consumer.run(stop)
            for task in tasks:
                task.cancel()

    def progress(self) -> Progress:
        """How far the pipeline is, for the watchdog."""
        in_flight = len(self._consumer.assignment.in_flight) if self._consumer.assignment else 0
        return Progress(self._consumer.fetched, self._delivered, in_flight, self._consumer.positions())

    def stale_cameras(self) -> list[str]:
        """The cameras whose similarities are not those of the calibration, for other processes to see."""
        assignment = self._consumer.assignment
        return assignment.calibration.stale_cameras if assignment else []

    def load(self) -> ConsumerLoad:
        """How much work there is, for the GPU monitor."""
        assignment = self._consumer.assignment
        waiting = sum(self._consumer.lag().values()) + (assignment.in_flight.waiting if assignment else 0)
        return ConsumerLoad(waiting, 100 * self._inferring / self._settings.batches_in_flight)

    async def _prepare(self) -> None:
        """Decode and crop the next frames; the ordering keys take turns."""
        loop, components = asyncio.get_running_loop(), self._components
        while True:
            assignment = await self._consumer.current_assignment()
            if frames := await assignment.next_frames():
                prepare = partial(_prepare_each, components.preparer, frames, components.served())
                if components.decode_threads is None:
                    prepare()
                    await asyncio.sleep(0)  # a backlog of frames that are too old must not stop everything else
                else:
                    await loop.run_in_executor(components.decode_threads, prepare)
                del prepare
                for frame in frames:
                    start_ns, end_ns = frame.spans["decode"]
                    self._decode_seconds.observe((end_ns - start_ns) / NS_PER_S)
                    assignment.prepared(frame)
                    del frame
            del frames  # while this loop waits it keeps no frame, and so no snapshot, alive

    async def _infer(self) -> None:
        """Put a batch of regions through the model and the index; several of these loops run side by side."""
        while True:
            assignment = await self._consumer.current_assignment()
            if batch := await assignment.next_batch():
                self._metrics.batch_regions.observe(len(batch))
                self._inferring += 1  # an error ends the pipeline, so it needs no finally
                await self._components.inference.decide(batch)
                self._inferring -= 1
                assignment.decided(batch)
            del batch

    async def _build_results(self) -> None:
        """Make events and sightings of complete frames, each ordering key in order, and pass them to the delivery."""
        while True:
            assignment = await self._consumer.current_assignment()
            if frames := await assignment.ready_frames():
                await self._build(assignment, frames)
            del frames

    async def _build(self, assignment: Assignment, frames: list[InFlightFrame]) -> None:
        results = self._components.results
        assignment.skip_repeats(frames)
        metadata = await results.look_up(frames)
        raise_if_cancelled()
        if assignment.state is State.REVOKED or not self._consumer.may_publish():
            return  # another consumer processes these frames
        built = []
        for frame in frames:
            events = results.match_events(frame, metadata, assignment.calibration.observe(frame))
            if events and frame.served is not None:
                observed = assignment.sightings.observe(events, frame.served.vote_rules)
                built.append(FrameResult.of(frame, observed.events, observed.sightings))
            else:
                built.append(FrameResult.of(frame))
            frame.served = None  # what is delivered does not need it any more
        await self._delivery.deliver(built)

    def _on_delivered(self, result: FrameResult) -> None:
        frame = result.frame
        if frame is None:
            return
        self._delivered += 1
        if self._consumer.assignment:
            self._consumer.assignment.in_flight.remove(frame)
        match frame.outcome:
            case Rejected(error=error):
                self._metrics.frames.labels("deadletter", error.reason).inc()
            case Skipped(reason):
                self._metrics.frames.labels("skipped", reason).inc()
            case _:
                self._answered.inc()
                if frame.header is not None:
                    self._metrics.age_seconds.observe((now_us() - frame.header.arrived_at_us) / US_PER_S)

    async def _measure(self) -> None:
        """Once a second: lag, frames in flight, and whether Kafka answers. Never waits for output."""
        while True:
            await asyncio.sleep(_MEASURE_INTERVAL_S)
            await self._consumer.refresh_lag()
            for partition, frames in self._consumer.lag().items():
                self._metrics.lag.labels(str(partition.partition)).set(frames)
            assignment = self._consumer.assignment
            self._metrics.in_flight.set(len(assignment.in_flight) if assignment else 0)
            self._metrics.in_flight_bytes.set(assignment.in_flight.size_bytes if assignment else 0)
            self._measured.set()

    async def _end_silent_sightings(self) -> None:
        """After each measurement, unless output is refused: end the sightings of cameras that have fallen silent."""
        while True:
            self._measured.clear()  # only a new measurement says which partitions have been processed to their end
            await self._measured.wait()
            if assignment := self._consumer.assignment:
                processed = {partition for partition, frames in self._consumer.lag().items() if not frames}
                ended = assignment.sightings.end_silent(processed - assignment.in_flight.partitions)
                if ended and self._consumer.may_publish():
                    await self._delivery.deliver(ended)


def _prepare_each(preparer: Preparer, frames: Iterable[InFlightFrame], served: ServedSnapshot) -> None:
    """Prepare frames, one after the other. CPU-bound: runs in a thread."""
    for frame in frames:
        frame.spans["wait"] = (frame.fetched_ns, time.time_ns())
        preparer.prepare(frame, served)
