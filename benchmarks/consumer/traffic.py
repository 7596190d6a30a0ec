"""A steady load of frames, and every match event of it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle

import msgspec

from benchmarks.frames import camera_names, frame_record, send
from benchmarks.kafka import TopicReader
from demo.services import Service
from framematch.core.events import MatchEvent
from framematch.core.frames import Frame
from framematch.core.kafka.clients import new_producer, started
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import from_rfc3339, now_us
from framematch.core.units import US_PER_MS

_LOOK_S = 0.02
_DEADLINE_S = 60.0


@dataclass
class Traffic:
    """What was published, and every event of it."""

    frames: set[str] = field(default_factory=set)
    events: list[MatchEvent] = field(default_factory=list)
    latency_ms: list[tuple[float, float]] = field(default_factory=list)
    """For each event the monotonic time of its arrival here, and from its frame's capture to its publication."""

    @property
    def lost(self) -> int:
        """Frames without an event."""
        return len(self.frames - {event.frame.id for event in self.events})

    @property
    def repeated(self) -> int:
        """Events that came before."""
        return len(self.events) - len({event.id for event in self.events})

    def worst_ms(self, since_s: float) -> float:
        """The latest event since then."""
        return max((latency_ms for at_s, latency_ms in self.latency_ms if at_s >= since_s), default=0.0)


async def publish(
    kafka: KafkaSettings, jpegs: Sequence[bytes], frames_per_s: float, traffic: Traffic, stop: asyncio.Event
) -> None:
    """Publish frames of one camera for each partition in turn, until `stop` is set."""
    cameras = camera_names(kafka.partitions, kafka.partitions)
    async with started(new_producer(kafka), kafka) as producer:
        start_s = time.monotonic()
        for number, jpeg in enumerate(cycle(jpegs)):
            if stop.is_set():
                break
            frame = Frame(cameras[number % len(cameras)], now_us(), number // len(cameras))
            traffic.frames.add(frame.id)
            await send(producer, frame_record(kafka, frame, jpeg))
            await asyncio.sleep(max(0.0, start_s + (number + 1) / frames_per_s - time.monotonic()))
        await producer.flush()


async def receive(matches: TopicReader, traffic: Traffic) -> None:
    """Note every event, until cancelled."""
    while True:
        for arrival in await matches.read():
            event = msgspec.json.decode(arrival.record.value, type=MatchEvent)
            latency_ms = arrival.record.timestamp - from_rfc3339(event.frame.captured_at) / US_PER_MS
            traffic.events.append(event)
            traffic.latency_ms.append((time.monotonic(), latency_ms))


async def wait_for_events(traffic: Traffic, consumers: Sequence[Service], count: int) -> None:
    """Return when there are so many events, or none has come for the deadline."""
    before, since_s = 0, time.monotonic()
    while len(traffic.events) < count and time.monotonic() < since_s + _DEADLINE_S:
        await asyncio.sleep(_LOOK_S)
        for consumer in consumers:
            consumer.check()
        if len(traffic.events) > before:
            before, since_s = len(traffic.events), time.monotonic()
