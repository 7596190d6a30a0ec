"""A collector keeps what it chose once, whatever the servers do meanwhile."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import simplejpeg
from prometheus_client import CollectorRegistry

from framematch.core.errors import MongoUnavailableError
from framematch.core.events import MatchEvent, encode
from framematch.core.frames import Frame, frame_headers
from framematch.core.settings import ReviewSettings
from framematch.review.collector import Chosen, Collector
from framematch.review.metrics import ReviewMetrics
from framematch.review.picture import ReviewPicture, to_picture
from tests.sample_events import AT_US, match_event

MINUTE_US = 60_000_000
AWAY = MongoUnavailableError("MongoDB does not answer", hint="Wait")


class FakeStore:
    """Keeps documents; fails as often as `failures` says."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.failures = 0

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise AWAY

    async def add(self, document: dict[str, Any]) -> bool:
        self._fail()
        is_new = document["_id"] not in self.documents
        self.documents.setdefault(document["_id"], document)
        return is_new

    async def of_hour(self, camera: str, hour: int) -> list[ReviewPicture]:
        self._fail()
        return [to_picture(one) for one in self.documents.values() if (one["camera"], one["hour"]) == (camera, hour)]

    async def drop(self, ids: set[str]) -> int:
        self._fail()
        return sum(self.documents.pop(one, None) is not None for one in ids)


class FakeFrames:
    """Has the frames of all events, but for the offsets that are `gone`."""

    def __init__(self) -> None:
        self.gone: set[int] = set()
        self.reads = 0

    async def find(self, _partition: int, offset: int) -> Any:
        self.reads += 1
        if offset in self.gone:
            return None
        frame = Frame("till-1", AT_US + offset * MINUTE_US, offset, grabbed_at_us=AT_US + offset * MINUTE_US)
        value = simplejpeg.encode_jpeg(np.full((20, 20, 3), offset, np.uint8))
        return SimpleNamespace(key=b"till-1", headers=frame_headers(frame), value=value)


class Site:
    """A collector, which can be started anew with what is stored."""

    def __init__(self, per_camera_hour: int = 20) -> None:
        self.store, self.frames, self.registry = FakeStore(), FakeFrames(), CollectorRegistry()
        self.settings = ReviewSettings(per_camera_hour=per_camera_hour)
        self.start()

    def start(self) -> None:
        store: Any = self.store
        self.registry = CollectorRegistry()
        metrics = ReviewMetrics(self.registry)
        self._collector = Collector(store, self.frames, self.settings, max_pixels=10_000, metrics=metrics)

    def forget(self) -> None:
        self._collector.forget()

    async def read(self, *events: MatchEvent | bytes) -> None:
        """Read a batch, and repeat each step until it succeeds."""
        records: Any = [SimpleNamespace(value=one if isinstance(one, bytes) else encode(one)) for one in events]
        regions, chosen = self._collector.regions(records), Chosen()
        steps: list[Callable[[], Awaitable[None]]] = [
            lambda: self._collector.choose(regions, chosen),
            lambda: self._collector.keep(chosen),
        ]
        for step in steps:
            while True:
                try:
                    await step()
                    break
                except MongoUnavailableError:
                    pass

    def counted(self, outcome: str) -> float:
        return self.registry.get_sample_value("framematch_review_pictures_total", {"outcome": outcome}) or 0


def event(number: int) -> MatchEvent:
    return match_event(number, at_us=AT_US + number * MINUTE_US)


async def test_chosen_regions_are_stored_with_their_picture_and_repeats_read_no_frame() -> None:
    site = Site()
    await site.read(event(1), event(2))
    await site.read(event(1))
    site.start()
    await site.read(event(1), event(2))
    assert set(site.store.documents) == {event(1).id, event(2).id}
    assert site.frames.reads == 2
    stored = site.store.documents[event(2).id]
    assert simplejpeg.decode_jpeg(stored["picture"]).shape == (10, 10, 3)
    assert to_picture(stored).best_product == "milk"


@pytest.mark.parametrize("failures", range(1, 6))
async def test_an_outage_of_mongodb_at_any_step_loses_and_repeats_nothing(failures: int) -> None:
    calm, rough = Site(per_camera_hour=3), Site(per_camera_hour=3)
    for start in range(0, 12, 4):
        rough.store.failures = failures
        batch = [event(number) for number in range(start, start + 4)]
        await calm.read(*batch)
        await rough.read(*batch)
    assert set(rough.store.documents) == set(calm.store.documents)
    assert len(calm.store.documents) == 3


async def test_a_frame_that_is_gone_is_counted_and_its_place_is_free() -> None:
    site = Site(per_camera_hour=1)
    site.frames.gone = {1}
    await site.read(event(1))
    await site.read(event(2))
    assert set(site.store.documents) == {event(2).id}
    assert (site.counted("gone"), site.counted("kept")) == (1, 1)


async def test_what_is_replaced_is_deleted_and_what_never_was_stored_is_not_read() -> None:
    site = Site(per_camera_hour=2)
    await site.read(*(event(number) for number in range(30)))
    assert (len(site.store.documents), site.frames.reads) == (2, 2)
    await site.read(*(event(number) for number in range(30, 59)))
    assert len(site.store.documents) == 2
    assert site.counted("kept") - site.counted("replaced") == 2


async def test_more_than_the_present_limit_from_an_earlier_start_is_deleted() -> None:
    site = Site(per_camera_hour=5)
    await site.read(*(event(number) for number in range(9)))
    site.settings = ReviewSettings(per_camera_hour=2)
    site.start()
    await site.read(event(0))
    assert len(site.store.documents) == 2


async def test_after_a_rebalance_what_others_have_kept_meanwhile_counts() -> None:
    ours, theirs = Site(per_camera_hour=3), Site(per_camera_hour=3)
    theirs.store.documents = ours.store.documents
    await ours.read(event(0))
    await theirs.read(*(event(number) for number in range(30)))
    ours.forget()
    await ours.read(*(event(number) for number in range(30, 59)))
    assert len(ours.store.documents) == 3


async def test_what_is_no_event_is_counted_and_skipped() -> None:
    site = Site()
    await site.read(b"no event", event(1))
    assert set(site.store.documents) == {event(1).id}
    assert site.registry.get_sample_value("framematch_review_events_lost_total", {"reason": "not_an_event"}) == 1
