"""The recall of open sightings never keeps frames from being matched."""

import random
from typing import Any

import pytest
from aiokafka import TopicPartition
from structlog.testing import capture_logs

from consumers.metrics import ConsumerMetrics
from consumers.sightings import sightings as module
from consumers.sightings.event_history import sources
from consumers.sightings.sightings import Sightings
from framematch.core.errors import KafkaUnavailableError
from framematch.core.health import new_registry
from framematch.core.settings import KafkaSettings, SightingSettings
from tests.support import eventually
from tests.unit.consumers.fake_group import Topic
from tests.unit.consumers.test_frame_consumer import fetching

FRAMES, MATCHES = "framematch.frames", "framematch.matches"


async def unreadable(*_arguments: Any) -> None:
    raise KafkaUnavailableError("framematch.matches was not read", hint="Check the broker")


async def test_after_some_attempts_it_goes_on_without_open_sightings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "restore", unreadable)
    own = Sightings(KafkaSettings(), SightingSettings(), ConsumerMetrics(new_registry()))
    for _ in range(2):
        with pytest.raises(KafkaUnavailableError):
            await own.restore({TopicPartition(FRAMES, 0): 7}, {})
    with capture_logs() as logs:
        await own.restore({TopicPartition(FRAMES, 0): 7}, {})
    assert [line["event"] for line in logs] == ["sightings_not_restored"]


async def test_frames_are_fetched_although_sightings_cannot_be_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "restore", unreadable)
    topic = Topic(random.Random(1), partitions=2, frames=40, failures=0)  # noqa: S311  # chooses what happens
    with capture_logs() as logs:
        async with fetching(topic) as running:
            await running.member.join(topic.partitions)
            await eventually(lambda: running.consumer.fetched == 40)
    assert [line["event"] for line in logs].count("sightings_not_restored") == 1


@pytest.mark.parametrize(
    ("matches", "expected"), [(12, [3, 11]), (4, [0, 1, 2, 3]), (14, list(range(14))), (None, []), (0, [])]
)
def test_where_the_events_of_a_partition_are_read(matches: int | None, expected: list[int]) -> None:
    counts = {FRAMES: 12} | ({} if matches is None else {MATCHES: matches})
    assert [one.partition for one in sources(MATCHES, [3, 11], counts, FRAMES)] == expected
