"""From match events to kept pictures: chooses regions, reads their frames, stores them, deletes what is replaced."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import structlog
from aiokafka import ConsumerRecord

from framematch.core.errors import PictureError
from framematch.core.events import MatchEvent, decode
from framematch.core.settings import ReviewSettings
from framematch.review.crop import crop_of
from framematch.review.metrics import ReviewMetrics
from framematch.review.picture import new_document
from framematch.review.store import ReviewStore
from framematch.review.strata import HourSample, Offered, offered, restored

log = structlog.get_logger()

_HOURS = 10_000  # of all cameras together that are remembered; others are read from MongoDB again


class Finder(Protocol):
    """Where frames are."""

    async def find(self, partition: int, offset: int) -> ConsumerRecord | None:
        """The record of a frame; None when Kafka does not have it any more."""


@dataclass
class Chosen:
    """What becomes of a batch of events: the regions to keep, and the ids of those that they replace."""

    keep: dict[str, tuple[MatchEvent, Offered]] = field(default_factory=dict)
    drop: set[str] = field(default_factory=set)


class Collector:
    """Remembers what is kept of each camera and hour. Every step can be repeated: what is stored already stays."""

    def __init__(
        self, store: ReviewStore, finder: Finder, settings: ReviewSettings, *, max_pixels: int, metrics: ReviewMetrics
    ) -> None:
        self._store = store
        self._finder = finder
        self._settings = settings
        self._max_pixels = max_pixels
        self._metrics = metrics
        self._hours: OrderedDict[tuple[str, int], HourSample] = OrderedDict()

    def forget(self) -> None:
        """Read from MongoDB again what is kept: others may have read the events of our cameras meanwhile."""
        self._hours.clear()

    def regions(self, records: Sequence[ConsumerRecord]) -> list[tuple[MatchEvent, Offered]]:
        """The regions of these records that could be kept; what is no event is counted."""
        found = []
        for record in records:
            self._metrics.events.inc()
            try:
                event = decode(record.value or b"", MatchEvent)
            except msgspec.DecodeError:
                self._metrics.lost.labels("not_an_event").inc()
                continue
            if (place := offered(event, near=self._settings.near)) is not None:
                found.append((event, place))
        return found

    async def choose(self, regions: Sequence[tuple[MatchEvent, Offered]], chosen: Chosen) -> None:
        """Add to `chosen` which regions are kept. After an error it can be called again with the same arguments.

        Raises:
            MongoUnavailableError: what is kept of an hour could not be read.
        """
        for event, place in regions:
            sample = await self._hour(place.camera, place.hour, chosen)
            dropped = sample.offer(place.stratum, place.key, event.id)
            if dropped is None:  # an event that is read again
                continue
            if event.id not in dropped:
                chosen.keep[event.id] = (event, place)
            for region_id in dropped:
                if chosen.keep.pop(region_id, None) is None and region_id != event.id:
                    chosen.drop.add(region_id)

    async def keep(self, chosen: Chosen) -> None:
        """Read and store what was chosen, and delete what it replaces; what is done leaves `chosen`.

        Raises:
            MongoUnavailableError: call it again.
            CatalogError: MongoDB refuses; call it again.
            KafkaUnavailableError: a frame could not be read.
        """
        while chosen.keep:
            event, place = next(iter(chosen.keep.values()))
            outcome = await self._keep(event, place)
            self._metrics.pictures.labels(outcome).inc()
            if outcome in {"gone", "unreadable"}:
                self._hours[place.camera, place.hour].remove(place.stratum, place.key)
            del chosen.keep[event.id]
        self._metrics.pictures.labels("replaced").inc(await self._store.drop(chosen.drop))
        chosen.drop.clear()

    async def _keep(self, event: MatchEvent, place: Offered) -> str:
        record = await self._finder.find(event.frame.partition, event.frame.offset)
        try:
            crop = record and await asyncio.to_thread(crop_of, event, record, max_pixels=self._max_pixels)
        except PictureError as error:
            log.warning("review_frame_unreadable", camera=place.camera, frame=event.frame.id, error=error.message)
            return "unreadable"
        if crop is None:
            return "gone"
        is_new = await self._store.add(new_document(event, place, crop.image, crop.jpeg))
        return "kept" if is_new else "repeated"

    async def _hour(self, camera: str, hour: int, chosen: Chosen) -> HourSample:
        if (sample := self._hours.get((camera, hour))) is None:
            kept = await self._store.of_hour(camera, hour)
            size = self._settings.per_camera_hour
            sample, beyond = restored(size, ((one.stratum, one.key, one.id) for one in kept))
            chosen.drop |= beyond
            self._hours[camera, hour] = sample
            if len(self._hours) > _HOURS:
                self._hours.popitem(last=False)
        self._hours.move_to_end((camera, hour))
        return sample
