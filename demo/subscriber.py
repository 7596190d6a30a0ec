"""The demo's subscriber: reads frames, matches and dead letters, and prints each match."""

import asyncio
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from aiokafka import ConsumerRecord
from rich.console import Console
from rich.text import Text

from demo import timecode
from demo.rest import Sample
from demo.schedule import FeedSchedule, View
from demo.verdict import Observations
from framematch.cli.match_table import event_line
from framematch.core.events import MatchEvent, decode
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import from_rfc3339, now_us
from framematch.core.units import US_PER_MS

_PICTURES_KEPT = 100


class Subscriber:
    """Collects the records of the demo's topics in `seen`, until it is cancelled. `sample` is the first match."""

    def __init__(self, kafka: KafkaSettings, schedules: Mapping[int, FeedSchedule], console: Console) -> None:
        self.seen = Observations()
        self.sample: Sample | None = None
        self._pictures: dict[str, bytes] = {}  # of the newest frames, whose events come soon
        self._kafka = kafka
        self._schedules = schedules
        self._console = console
        self._new_records = asyncio.Event()
        topics = Topics(kafka.topic_prefix)
        self._handlers: dict[str, Callable[[ConsumerRecord], None]] = {
            topics.frames: self._on_frame,
            topics.matches: self._on_match,
            topics.deadletter: lambda record: self.seen.dead.add(_frame_id(record)),
        }

    async def run(self, ready: asyncio.Event) -> None:
        """Read until cancelled; sets `ready` once it reads the topics."""
        consumer = new_consumer(self._kafka, *self._handlers, auto_offset_reset="earliest")
        async with started(consumer, self._kafka):
            ready.set()
            while True:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        self._handlers[record.topic](record)
                self._new_records.set()

    async def all_processed(self, frames: int) -> None:
        """Wait for this number of frames, and a match event or dead letter for each."""
        while len(self.seen.timecodes) < frames or self.seen.unprocessed:
            self._new_records.clear()
            await self._new_records.wait()

    def _on_frame(self, record: ConsumerRecord) -> None:
        self._pictures[_frame_id(record)] = record.value
        if len(self._pictures) > _PICTURES_KEPT:
            self._pictures.pop(next(iter(self._pictures)))
        picture = cv2.imdecode(np.frombuffer(record.value, np.uint8), cv2.IMREAD_GRAYSCALE)
        self.seen.timecodes[_frame_id(record)] = None if picture is None else timecode.read(picture.astype(np.uint8))

    def _on_match(self, record: ConsumerRecord) -> None:
        event = decode(record.value, MatchEvent)
        if event.frame.id in self.seen.events:
            self.seen.repeats += 1
            return
        latency_ms = (now_us() - from_rfc3339(event.frame.arrived_at)) / US_PER_MS
        self.seen.events[event.frame.id] = event
        self.seen.latencies_ms.append(latency_ms)
        picture = self._pictures.get(event.frame.id)
        if self.sample is None and event.decision == "match" and picture is not None:
            self.sample = Sample(event, picture)
        self._console.print(event_line(event, latency_ms).append_text(self._mark(event)))

    def _mark(self, event: MatchEvent) -> Text:
        """What was really in view; empty when the event was read before its frame."""
        code = self.seen.timecodes.get(event.frame.id)
        if code is None or code[0] not in self._schedules:
            return Text()
        schedule = self._schedules[code[0]]
        view, product = schedule.view(code[1]), schedule.truth(code[1])
        if product is None:
            return Text(f"  ({'nothing in view' if view is View.EMPTY else 'moving'})", style="dim")
        right = bool(event.candidates) and event.candidates[0].product_id == product
        return Text("  right", style="green") if right else Text(f"  is {product}", style="red")


def _frame_id(record: ConsumerRecord) -> str:
    value: bytes = dict(record.headers)["ce_id"]
    return value.decode()
