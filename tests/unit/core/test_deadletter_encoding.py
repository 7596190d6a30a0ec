"""A dead letter has the record's bytes and the reason, and always fits the topic."""

from types import SimpleNamespace
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from framematch.core import deadletters
from framematch.core.deadletters import parse_dead_letter
from framematch.core.errors import BadFrameError
from framematch.core.kafka.records import ProducerRecord

ERROR = BadFrameError("truncated", "the JPEG ends early")
MAX_BYTES = 10_000
BYTES = st.none() | st.binary(max_size=50) | st.integers(0, 2 * MAX_BYTES).map(bytes)


def record(value: bytes | None, *headers: tuple[str, bytes | None], key: bytes | None = b"till-1") -> Any:
    position: dict[str, Any] = {"topic": "framematch.frames", "partition": 3, "offset": 7}
    return SimpleNamespace(key=key, value=value, headers=headers, timestamp=1_767_225_600_123, **position)


def dead_letter(failed: Any, error: BadFrameError, *, max_bytes: int = 100_000) -> ProducerRecord:
    return deadletters.dead_letter(failed, "decode", error, topic="framematch.deadletter", max_bytes=max_bytes)


def test_a_dead_letter_is_the_record_byte_for_byte_with_the_reason_added() -> None:
    encoded = dead_letter(record(b"bytes", ("ce_id", b"x")), ERROR)
    assert (encoded.key, encoded.value) == (b"till-1", b"bytes")
    assert encoded.headers[0] == ("ce_id", b"x")
    assert dict(encoded.headers[1:]) == {
        "deadletter_stage": b"decode",
        "deadletter_reason": b"truncated",
        "deadletter_error": b"the JPEG ends early",
        "deadletter_topic": b"framematch.frames",
        "deadletter_partition": b"3",
        "deadletter_offset": b"7",
        "deadletter_timestamp_ms": b"1767225600123",
    }


def test_a_record_without_a_value_is_a_dead_letter_too() -> None:
    assert dead_letter(record(None), ERROR).value is None


def test_a_record_without_key_and_value_is_a_dead_letter_that_can_be_sent() -> None:
    encoded = dead_letter(record(None, key=None), ERROR)
    assert (encoded.key, encoded.value) == (None, b"")


def test_a_record_that_does_not_fit_is_reduced_to_its_position() -> None:
    encoded = dead_letter(record(bytes(100_000), ("ce_id", bytes(10))), ERROR)
    assert encoded.value is None
    assert dict(encoded.headers)["deadletter_omitted_bytes"] == b"100015"
    assert dict(encoded.headers)["deadletter_offset"] == b"7"


def test_a_long_error_is_cut() -> None:
    encoded = dead_letter(record(b""), BadFrameError("headers", "x" * 9_999))
    assert len(dict(encoded.headers)["deadletter_error"]) == 500


@given(BYTES, BYTES, st.lists(st.tuples(st.text(max_size=9) | st.just("x" * MAX_BYTES), BYTES), max_size=9), st.text())
def test_every_record_has_a_dead_letter_that_fits_and_has_its_position(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], text: str
) -> None:
    error = BadFrameError("headers", text)
    encoded = dead_letter(record(value, *headers, key=key), error, max_bytes=MAX_BYTES)
    assert encoded.key is not None or encoded.value is not None
    sent = (encoded.key, encoded.value, encoded.headers)
    assert DefaultRecordBatchBuilder.estimate_size_in_bytes(*sent) <= MAX_BYTES
    read: Any = {"key": encoded.key, "value": encoded.value, "headers": encoded.headers}
    failure = parse_dead_letter(SimpleNamespace(**read, partition=0, offset=1, timestamp=2)).failure
    assert (failure.reason, failure.topic, failure.partition, failure.offset) == ("headers", "framematch.frames", 3, 7)
    if failure.omitted_bytes is None:
        assert (encoded.key, encoded.value or b"") == (key, value or b"")
        assert encoded.headers[: len(headers)] == headers


def test_the_bytes_that_kafka_adds_to_each_header_are_counted() -> None:
    encoded = dead_letter(record(b"", *[("x", None)] * 4_000), ERROR, max_bytes=MAX_BYTES)
    assert DefaultRecordBatchBuilder.estimate_size_in_bytes(encoded.key, encoded.value, encoded.headers) <= MAX_BYTES
