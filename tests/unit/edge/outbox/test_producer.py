"""librdkafka's producer as the edge uses it, without a broker."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.errors import InvalidTimestampError, KafkaError, MessageSizeTooLargeError, UnknownError
from confluent_kafka import KafkaError as ClientError

from edge.outbox.producer import IdempotentProducer, RecordGivenUpError, error_of, rejection
from framematch.core.kafka.clients import librdkafka_options
from framematch.core.kafka.records import ProducerRecord
from framematch.core.settings import KafkaSettings
from tests.support import eventually

NOBODY = "127.0.0.1:9"
SECRET = "hunter2-canary"


def record(size: int = 5) -> ProducerRecord:
    return ProducerRecord("frames", b"till-1", bytes(size), [("name", b"value")], 1)


@asynccontextmanager
async def producer(**settings: Any) -> AsyncIterator[tuple[IdempotentProducer, list[str]]]:
    """A producer without a broker, and its failures."""
    failures: list[str] = []
    made = IdempotentProducer(KafkaSettings(bootstrap_servers=NOBODY, **settings), lambda: failures.append("failed"))
    try:
        yield made, failures
    finally:
        await made.close()


async def test_a_record_waits_for_a_broker_and_is_given_up_at_close(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "librdkafka"):
        async with producer() as (made, failures):
            future = made.send(record())
            await eventually(lambda: "Connect to" in caplog.text, message="it tried to connect")
            assert not future.done()
            assert not failures
    with pytest.raises(RecordGivenUpError, match="_PURGE_QUEUE"):
        await future


async def test_a_record_that_is_too_large_is_rejected_and_no_other_fails() -> None:
    async with producer(max_message_bytes=65_536) as (made, failures):
        waiting = made.send(record())
        with pytest.raises(MessageSizeTooLargeError):
            made.send(record(size=300_000))
        assert not waiting.done()
        assert not failures
    assert isinstance(waiting.exception(), RecordGivenUpError)


async def test_a_cancelled_future_does_not_disturb_the_others() -> None:
    async with producer() as (made, _):
        first, second = made.send(record()), made.send(record())
        first.cancel()
    assert isinstance(second.exception(), RecordGivenUpError)
    await made.settled()


class SilentClient:
    """librdkafka's producer that never reports what became of a record."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.polled_at: list[int] = []
        self.iterations = 0

    def count_iterations(self) -> None:
        """Count the iterations of the event loop from now on."""
        self.iterations += 1
        asyncio.get_running_loop().call_soon(self.count_iterations)

    def poll(self, timeout_s: float) -> None:
        assert timeout_s == 0
        self.polled_at.append(self.iterations)

    def produce(self, *_: Any, **__: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def close(self) -> None:
        pass


async def test_while_close_waits_the_event_loop_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    client = SilentClient()
    monkeypatch.setattr("confluent_kafka.Producer", lambda *_, **__: client)
    async with producer() as (made, _):
        made.send(record())
        client.count_iterations()
    assert len(client.polled_at) > 1
    assert client.polled_at == sorted(set(client.polled_at)), "the event loop runs between two polls"


@pytest.mark.parametrize(
    ("code", "error", "reason"),
    [
        (ClientError.MSG_SIZE_TOO_LARGE, MessageSizeTooLargeError, "too_large"),
        (ClientError.INVALID_TIMESTAMP, InvalidTimestampError, "refused"),
        (ClientError.INVALID_RECORD, UnknownError, "refused"),
        (ClientError.UNKNOWN, UnknownError, "refused"),
        (ClientError._PURGE_QUEUE, RecordGivenUpError, None),  # noqa: SLF001  # its public name
        (ClientError._FATAL, RecordGivenUpError, None),  # noqa: SLF001  # its public name
    ],
)
def test_errors_of_librdkafka_have_a_rejection(code: int, error: type[KafkaError], reason: str | None) -> None:
    found = error_of(ClientError(code))
    assert type(found) is error
    rejected = rejection(found)
    assert (rejected.reason if rejected else None) == reason


def test_a_login_is_passed_to_librdkafka() -> None:
    options = librdkafka_options(
        KafkaSettings(
            bootstrap_servers="broker:9093",
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="SCRAM-SHA-256",
            sasl_username="edge",
            sasl_password=SECRET,
        )
    )
    assert options["security.protocol"] == "SASL_PLAINTEXT"
    assert (options["sasl.mechanisms"], options["sasl.username"]) == ("SCRAM-SHA-256", "edge")
    assert options["sasl.password"] == SECRET
    assert not any(name.startswith("ssl.") for name in options)
