"""`framematch watch` over a real Kafka."""

import asyncio
import uuid
from pathlib import Path

import pytest

from framematch.core.events import MatchEvent, SightingEvent, encode
from framematch.core.kafka.clients import new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.stack.kafka import KafkaServer
from tests.integration.commands import at_terminal, running, screen
from tests.sample_events import match_event, sighting_event
from tests.support import wait_until

pytestmark = pytest.mark.integration


class Site:
    """A topic prefix for the test, and its published events."""

    def __init__(self, kafka: KafkaServer) -> None:
        prefix = f"watch-{uuid.uuid4().hex[:8]}"
        self.settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, partitions=1)
        self.environment = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "FRAMEMATCH_KAFKA__TOPIC_PREFIX": prefix,
        }

    def publish(self, *events: MatchEvent | SightingEvent, raw: bytes | None = None) -> None:
        topics = Topics(self.settings.topic_prefix)

        async def send() -> None:
            await ensure_topics(self.settings)
            async with started(new_producer(self.settings), self.settings) as producer:
                if raw is not None:
                    await producer.send_and_wait(topics.matches, raw, key=b"till-1")
                for event in events:
                    topic = topics.matches if isinstance(event, MatchEvent) else topics.sightings
                    await producer.send_and_wait(topic, encode(event), key=b"till-1")

        asyncio.run(send())


@pytest.fixture
def site(kafka: KafkaServer) -> Site:
    return Site(kafka)


def lines_of(output: Path) -> list[str]:
    """The complete lines that a command has written so far."""
    return output.read_text().splitlines()


def test_filters_select_the_json_events_which_are_printed_unchanged(site: Site, tmp_path: Path) -> None:
    newer = encode(match_event(0))[:-1] + b',"added":1}'
    wanted = [match_event(1, decision="ambiguous", product="bread"), match_event(2)]
    site.publish(match_event(9, decision="unknown"), *wanted, raw=newer)
    output = tmp_path / "output"
    arguments = ("watch", "--from-beginning", "--json", "--decision", "match", "--decision", "ambiguous")
    with output.open("wb") as file, running(site.environment, *arguments, stdout=file.fileno()):
        wait_until(lambda: len(lines_of(output)) > len(wanted), timeout_s=60)
    assert [line.encode() for line in lines_of(output)] == [newer, *map(encode, wanted)]


def test_without_a_terminal_each_event_is_a_line_and_invalid_ones_are_skipped(site: Site, tmp_path: Path) -> None:
    site.publish(match_event(1, product="bread"), match_event(2), raw=b"no json")
    output = tmp_path / "output"
    arguments = ("watch", "--from-beginning", "--product", "milk", "--camera", "till-1", "--camera", "till-2")
    with output.open("wb") as file, running(site.environment, *arguments, stdout=file.fileno()):
        wait_until(lambda: lines_of(output), timeout_s=60)
    [line] = lines_of(output)
    assert line.split()[:5] == ["00:00:00.000", "till-1", "match", "Milk", "1.50"]


def test_at_a_terminal_the_table_is_updated(site: Site) -> None:
    with screen() as terminal, running(at_terminal(site.environment), "watch", stdout=terminal.theirs):
        wait_until(lambda: terminal.shows("waiting for match events"), timeout_s=60)
        site.publish(match_event(1))
        wait_until(lambda: terminal.shows("till-1", "Milk 1.50", "1 camera"), timeout_s=60)
        site.publish(match_event(2, decision="unknown"), match_event(1, camera="till-2"))
        wait_until(lambda: terminal.shows("till-2", "unknown", "2 cameras"), timeout_s=60)


def test_sightings_are_shown_while_they_are_in_view(site: Site) -> None:
    with screen() as terminal, running(at_terminal(site.environment), "watch", "--sightings", stdout=terminal.theirs):
        wait_until(lambda: terminal.shows("waiting for sightings"), timeout_s=60)
        site.publish(sighting_event(), sighting_event(product="bread"))
        wait_until(lambda: terminal.shows("Milk", "2 products in view"), timeout_s=60)
        site.publish(sighting_event("ended"))
        wait_until(lambda: terminal.shows("Bread", "1 product in view"), timeout_s=60)


def test_lines_can_be_printed_at_a_terminal_too(site: Site) -> None:
    site.publish(match_event(1))
    environment = at_terminal(site.environment)
    arguments = ("watch", "--lines", "--from-beginning")
    with screen() as terminal, running(environment, *arguments, stdout=terminal.theirs):
        wait_until(lambda: terminal.shows("00:00:00.000", "Milk 1.50"), timeout_s=60)
        assert not terminal.shows("Events/s")
