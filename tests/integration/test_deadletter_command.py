"""`framematch deadletter` over a real Kafka."""

import asyncio
import json
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from typer.testing import CliRunner, Result

from framematch.cli.app import app
from framematch.core.deadletters import dead_letter
from framematch.core.errors import BadFrameError, DeadLetterError, UsageError
from framematch.core.frames import Frame, frame_headers, parse_frame
from framematch.core.kafka.clients import client_options, new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.stack.kafka import KafkaServer
from tests.integration.edge_service import read_topic

pytestmark = pytest.mark.integration

CAPTURED_US = 1_767_225_600_123_456
ROOMY = 1_000_000


class Site:
    """A topic prefix for the test, with frames that failed, and the command."""

    def __init__(self, kafka: KafkaServer) -> None:
        self.settings = KafkaSettings(
            bootstrap_servers=kafka.bootstrap_servers, topic_prefix=f"dead-{uuid.uuid4().hex[:8]}", partitions=3
        )
        self.topics = Topics(self.settings.topic_prefix)

    def run(self, *arguments: str, answer: str | None = None) -> Result:
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": self.settings.bootstrap_servers,
            "FRAMEMATCH_KAFKA__TOPIC_PREFIX": self.settings.topic_prefix,
        }
        return CliRunner().invoke(app, ["deadletter", *arguments], env=environment, input=answer)

    def say(self, *arguments: str, answer: str | None = None) -> str:
        """The output of the command, which must succeed."""
        done = self.run(*arguments, answer=answer)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    def frames(self) -> list[ConsumerRecord]:
        """All records of the frames topic, in the order of sending."""
        records = read_topic(str(self.settings.bootstrap_servers), self.topics.frames)
        return sorted(records, key=lambda record: (dict(record.headers)["number"], record.offset))

    def publish(self, *cameras: str) -> list[ConsumerRecord]:
        """Publish a frame of each camera, and return the records; the header `number` counts them."""

        async def send() -> None:
            await ensure_topics(self.settings)
            async with started(new_producer(self.settings), self.settings) as producer:
                for number, camera in enumerate(cameras):
                    frame = Frame(camera, CAPTURED_US + number * 1_000, number)
                    await producer.send_and_wait(
                        self.topics.frames,
                        f"bytes {number}".encode(),
                        key=camera.encode(),
                        headers=[*frame_headers(frame), ("number", b"%d" % number)],
                        timestamp_ms=frame.captured_at_us // 1_000,
                    )

        asyncio.run(send())
        return self.frames()

    def fail(
        self,
        records: Sequence[ConsumerRecord],
        *,
        reason: str = "truncated",
        stage: str = "decode",
        max_bytes: int = ROOMY,
        partition: int = 0,
        committed: bool | None = None,
    ) -> None:
        """Publish dead letters as a consumer does; in a transaction when `committed` says how it ends."""

        async def write(producer: AIOKafkaProducer) -> None:
            for record in records:
                error = BadFrameError(reason, f"{reason} it is")
                letter = dead_letter(record, stage, error, topic=self.topics.deadletter, max_bytes=max_bytes)
                await producer.send_and_wait(
                    letter.topic, letter.value, key=record.key, headers=letter.headers, partition=partition
                )

        async def send() -> None:
            transactional_id = None if committed is None else f"{self.settings.topic_prefix}-{committed}"
            producer = new_producer(self.settings, transactional_id=transactional_id)
            async with started(producer, self.settings):
                if committed is None:
                    await write(producer)
                    return
                await producer.begin_transaction()
                await write(producer)
                await (producer.commit_transaction() if committed else producer.abort_transaction())

        asyncio.run(send())

    def listed(self, *arguments: str) -> list[int]:
        """The offsets of the frames whose dead letters are listed."""
        return [json.loads(line)["offset"] for line in self.say("list", "--json", *arguments).splitlines()]


@pytest.fixture
def site(kafka: KafkaServer) -> Site:
    return Site(kafka)


def as_sent(record: ConsumerRecord) -> tuple[object, ...]:
    """The parts of a record that its sender sets."""
    return record.partition, record.timestamp, record.key, record.value, record.headers


def test_dead_letters_are_listed_with_their_fields(site: Site) -> None:
    [record] = site.publish("till-1")
    site.fail([record])
    heading, line = site.say("list").splitlines()
    assert heading.split() == ["Position", "Written", "(UTC)", "Camera", "Stage", "Reason", "Error", "Record", "Size"]
    place, _day, _time, *rest = line.split()
    assert place == "0:0"
    assert " ".join(rest) == (
        f"till-1 decode truncated truncated it is {site.topics.frames} {record.partition}:{record.offset} 0.0 kB"
    )


def test_lists_are_filtered_and_limited_to_the_newest(site: Site) -> None:
    records = site.publish("till-1", "till-1", "till-1", "till-1")
    site.fail(records[:1], reason="headers")
    site.fail(records[1:2], stage="infer")
    site.fail(records[2:])
    assert site.listed() == [0, 1, 2, 3]
    assert site.listed("--limit", "2") == [2, 3]
    assert site.listed("--reason", "headers", "--reason", "truncated", "--stage", "decode") == [0, 2, 3]
    assert site.listed("--camera", "till-2") == []


def test_without_the_topic_there_are_no_dead_letters(site: Site) -> None:
    assert site.say("list") == "No dead letters.\n"
    assert site.say("replay", "--all") == "No dead letters to send.\n"


def test_one_dead_letter_is_shown_in_full_and_its_bytes_are_saved(site: Site, tmp_path: Path) -> None:
    records = site.publish("till-1", "till-1")
    site.fail(records)
    said = site.say("show", "1", "--save", str(tmp_path / "frame.jpg"))
    assert (tmp_path / "frame.jpg").read_bytes() == records[1].value
    for name, value in records[1].headers:
        assert f"{name} {value.decode()}" in " ".join(said.split())
    assert "2026-01-01T00:00:00.124000Z" in said
    assert f"7 bytes saved in {tmp_path / 'frame.jpg'}" in said


def test_a_replayed_record_is_the_one_that_failed_byte_for_byte_and_its_frame_keeps_its_id(site: Site) -> None:
    records = site.publish("till-1", "till-2")
    site.fail(records)
    assert site.say("replay", "0:1", "--yes") == f"1 record sent to {site.topics.frames}; their frames keep their ids\n"
    assert list(map(as_sent, site.frames())) == list(map(as_sent, [records[0], records[1], records[1]]))
    assert parse_frame(b"till-2", site.frames()[-1].headers[:-1]).id == Frame("till-2", CAPTURED_US + 1_000, 1).id


def test_filters_select_what_is_replayed_and_records_without_bytes_are_left_out(site: Site) -> None:
    records = site.publish(*["till-1"] * 5)
    site.fail(records[:2], reason="model")
    site.fail(records[2:3], reason="model", max_bytes=10)
    site.fail(records[3:], reason="headers")
    said = site.say("replay", "--reason", "model", "-y")
    assert said.splitlines() == [
        "1 dead letter cannot be sent: the record's bytes were not kept",
        f"2 records sent to {site.topics.frames}; their frames keep their ids",
    ]
    assert [record.value for record in site.frames()][-2:] == [b"bytes 3", b"bytes 4"]
    assert len(site.frames()) == 7


def test_a_dry_run_shows_what_would_be_sent_and_sends_nothing(site: Site) -> None:
    site.fail(site.publish("till-1", "till-2"))
    shown = site.say("replay", "--camera", "till-2", "--dry-run")
    assert "till-2" in shown
    assert "till-1" not in shown
    assert len(site.frames()) == 2


@pytest.mark.parametrize(("answer", "sent"), [("n\n", 0), ("", 0), ("y\n", 2)])
def test_without_yes_it_asks_first(site: Site, answer: str, sent: int) -> None:
    site.fail(site.publish("till-1", "till-2"))
    done = site.run("replay", "--all", answer=answer)
    assert f"Send 2 records to {site.topics.frames}? [y/N]" in done.output
    assert (done.exit_code, len(site.frames())) == (0 if sent else 1, 2 + sent)


def test_a_dead_letter_without_bytes_is_neither_replayed_nor_saved(site: Site, tmp_path: Path) -> None:
    site.fail(site.publish("till-1"), max_bytes=10)
    assert "not kept" in site.say("list")
    for command in (["replay", "0", "--yes"], ["show", "0", "--save", str(tmp_path / "frame.jpg")]):
        refused = site.run(*command).exception
        assert isinstance(refused, DeadLetterError)
        assert "the record's bytes were not kept" in refused.message
    assert list(tmp_path.iterdir()) == []


def test_positions_in_several_partitions_are_distinguished(site: Site) -> None:
    async def create() -> None:
        async with started(AIOKafkaAdminClient(**client_options(site.settings)), site.settings) as admin:
            await admin.create_topics([NewTopic(site.topics.deadletter, 2, 1)])

    asyncio.run(create())
    records = site.publish("till-1", "till-1", "till-1")
    site.fail(records[:1], partition=1)
    site.fail(records[1:2], partition=0)
    site.fail(records[2:], partition=1)
    lines = [json.loads(line) for line in site.say("list", "--json").splitlines()]
    assert [(line["letter"], line["offset"]) for line in lines] == [("1:0", 0), ("0:0", 1), ("1:1", 2)]
    assert f"{site.topics.frames} {records[2].partition}:2" in site.say("show", "1:1")
    refused = site.run("show", "1").exception
    assert isinstance(refused, UsageError)
    assert str(refused) == "the topic has 2 partitions. Give the partition too: 0:1"


def test_committed_transactions_are_read_to_the_end_and_aborted_ones_are_not(site: Site) -> None:
    records = site.publish(*["till-1"] * 3)
    site.fail(records[:1], committed=True)
    site.fail(records[1:2], committed=False)
    assert site.listed() == [0]
    site.fail(records[2:])
    assert site.listed() == [0, 2]


def test_an_invalid_dead_letter_is_logged_and_skipped(site: Site) -> None:
    site.fail(site.publish("till-1"))

    async def send() -> None:
        async with started(new_producer(site.settings), site.settings) as producer:
            await producer.send_and_wait(site.topics.deadletter, b"what", key=b"till-9")

    asyncio.run(send())
    done = site.run("list", "--json")
    assert [json.loads(line)["letter"] for line in done.stdout.splitlines()] == ["0:0"]
    assert "dead_letter_unreadable" in done.stderr


@pytest.mark.parametrize("place", ["0:7", "3:0", "9"])
def test_a_missing_dead_letter_is_an_error(site: Site, place: str) -> None:
    site.fail(site.publish("till-1"))
    refused = site.run("show", place).exception
    assert isinstance(refused, DeadLetterError)
    assert "there is no dead letter at" in refused.message
