"""What a service logs goes to the topic of logs too, and never delays the service."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import structlog
from aiokafka.errors import KafkaError

from framematch.core import log_topic
from framematch.core.errors import SettingsError
from framematch.core.events import LogEvent, decode
from framematch.core.kafka.records import Headers
from framematch.core.log_topic import LogTopic, published_log
from framematch.core.logging import configure_logging, listening
from framematch.core.settings import KafkaSettings, LogSettings, Settings
from tests.support import eventually, wait_until

log = structlog.get_logger()


class FakeProducer:
    """A producer that keeps what it is sent; or refuses it, or never answers."""

    def __init__(self, failures: int = 0, *, answers: bool = True) -> None:
        self.sent: list[LogEvent] = []
        self.failures = failures
        self.answers = answers

    async def start(self) -> None:
        """Connected."""

    async def stop(self) -> None:
        """Disconnected."""

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes | None, headers: Headers, partition: int | None
    ) -> asyncio.Future[object]:
        del headers, partition
        assert topic == "framematch.logs"
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self.failures:
            self.failures -= 1
            future.set_exception(KafkaError("refused"))
        elif self.answers:
            self.sent.append(event := decode(value or b"", LogEvent))
            assert key == event.service.encode()
            future.set_result(None)
        return future


@pytest.fixture(autouse=True)
def _configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_topic, "_POLL_S", 0.005)
    monkeypatch.setattr(log_topic, "_BACKOFF_S", (0.001, 0.002))
    configure_logging("debug", "json", service="edge")


def new_topic(level: str = "info") -> LogTopic:
    return LogTopic("framematch.logs", level, "edge")


async def published(topic: LogTopic, producer: FakeProducer, until: Callable[[], object] = lambda: True) -> list[str]:
    """The names of the events that are published from the start to the end."""
    running = asyncio.ensure_future(topic.run(KafkaSettings(), lambda _settings: producer))
    await eventually(until)
    topic.stop()
    await running
    return [event.event for event in producer.sent]


async def test_an_event_is_published_with_its_fields_redacted_and_without_those_of_the_line() -> None:
    topic, producer = new_topic(), FakeProducer()
    with listening(topic.take):
        log.warning("camera_failed", camera="till-1", source="rtsp://u:canary@h/1", token="canary", left=float("nan"))
        logging.getLogger("library").warning("http://u:canary@h refused")
    await published(topic, producer)
    first, second = producer.sent
    assert (first.service, first.level, first.event) == ("edge", "warning", "camera_failed")
    assert first.fields == {"camera": "till-1", "source": "rtsp://***@h/1", "token": "***", "left": None}
    assert (second.event, second.fields["logger"]) == ("http://***@h refused", "library")
    assert first.id != second.id


async def test_only_events_of_the_level_and_above_are_published_and_only_inside_the_context() -> None:
    topic, producer = new_topic("warning"), FakeProducer()
    with listening(topic.take):
        log.info("camera_opened")
        log.error("camera_failed")
    log.error("after_the_context")
    assert await published(topic, producer) == ["camera_failed"]


async def test_what_the_thread_of_the_topic_logs_itself_is_not_published(capsys: pytest.CaptureFixture[str]) -> None:
    topic, producer = new_topic(), FakeProducer(failures=3)
    topic.thread = threading.current_thread()
    with listening(topic.take):
        topic.thread = None
        log.info("camera_opened")
        topic.thread = threading.current_thread()
        names = await published(topic, producer, lambda: producer.sent)
    assert names == ["camera_opened"]
    assert capsys.readouterr().err.count("log_topic_unavailable") == 1


async def test_what_kafka_refuses_is_sent_again_in_order() -> None:
    topic, producer = new_topic(), FakeProducer(failures=2)
    with listening(topic.take):
        log.info("first")
        log.info("second")
    assert await published(topic, producer, lambda: len(producer.sent) >= 2) == ["first", "second"]
    assert topic.dropped == 0


async def test_events_beyond_the_queue_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log_topic, "_QUEUE_MAX", 3)
    monkeypatch.setattr(log_topic, "_FLUSH_S", 0.01)
    topic = new_topic()
    with listening(topic.take):
        for number in range(5):
            log.info("camera_opened", number=number)
    assert topic.dropped == 2
    await published(topic, FakeProducer(answers=False))
    assert topic.dropped == 5, "and those that Kafka had not taken at the end"
    assert '"events": 5' in capsys.readouterr().err


@pytest.mark.parametrize("value", [2**70, {None: 1}, "\ud800", b"\xff", "x" * 100_000, [[["deep"]]], object()])
async def test_an_event_with_any_field_is_published(value: Any) -> None:
    topic, producer = new_topic(), FakeProducer()
    with listening(topic.take):
        log.info("odd", value=value)
    assert await published(topic, producer) == ["odd"]
    assert len(msgspec.json.encode(producer.sent[0].fields)) <= 65_536


def test_without_the_setting_nothing_is_published() -> None:
    before = structlog.get_config()["processors"]
    with published_log(Settings(), "edge"):
        assert structlog.get_config()["processors"] is before


def test_a_mistake_in_the_settings_of_kafka_is_reported_at_once() -> None:
    with (
        pytest.raises(SettingsError, match=r"kafka\.bootstrap_servers"),
        published_log(Settings(log=LogSettings(topic=True)), "edge"),
    ):
        pass


def test_a_service_ends_within_seconds_though_kafka_is_away(dead_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_topic, "_BACKOFF_S", (0.5, 10.0))
    settings = Settings(log=LogSettings(topic=True), kafka=KafkaSettings(bootstrap_servers=dead_address))
    with published_log(settings, "edge"):
        log.info("camera_opened")
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "log-topic"])
