"""Dead letters keep the record whole, say why, and always fit."""

from types import SimpleNamespace
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from consumers.delivery.deadletter import dead_letter
from framematch.core.deadletters import parse_dead_letter
from framematch.core.errors import BadFrameError

ERROR = BadFrameError("truncated", "the JPEG ends early")
MAX_BYTES = 10_000
BYTES = st.none() | st.binary(max_size=50) | st.integers(0, 2 * MAX_BYTES).map(bytes)


def record(value: bytes | None, *headers: tuple[str, bytes | None], key: bytes | None = b"till-1") -> Any:
    where: dict[str, Any] = {"topic": "framematch.frames", "partition": 3, "offset": 7}
    return SimpleNamespace(key=key, value=value, headers=headers, timestamp=1_767_225_600_123, **where)


def test_a_letter_is_the_record_byte_for_byte_with_the_reason_added() -> None:
    letter = dead_letter(record(b"bytes", ("ce_id", b"x")), "decode", ERROR, max_bytes=100_000)
    assert (letter.key, letter.value) == (b"till-1", b"bytes")
    assert letter.headers[0] == ("ce_id", b"x")
    assert dict(letter.headers[1:]) == {
        "deadletter_stage": b"decode",
        "deadletter_reason": b"truncated",
        "deadletter_error": b"the JPEG ends early",
        "deadletter_topic": b"framematch.frames",
        "deadletter_partition": b"3",
        "deadletter_offset": b"7",
        "deadletter_timestamp_ms": b"1767225600123",
    }


def test_a_record_without_a_value_is_a_letter_too() -> None:
    assert dead_letter(record(None), "decode", ERROR, max_bytes=100_000).value is None


def test_a_record_without_key_and_value_is_a_letter_that_can_be_sent() -> None:
    letter = dead_letter(record(None, key=None), "decode", ERROR, max_bytes=100_000)
    assert (letter.key, letter.value) == (None, b"")


def test_a_record_that_does_not_fit_is_named_by_its_coordinates() -> None:
    letter = dead_letter(record(bytes(100_000), ("ce_id", bytes(10))), "decode", ERROR, max_bytes=100_000)
    assert letter.value is None
    assert dict(letter.headers)["deadletter_omitted_bytes"] == b"100015"
    assert dict(letter.headers)["deadletter_offset"] == b"7"


def test_a_long_error_is_cut() -> None:
    letter = dead_letter(record(b""), "decode", BadFrameError("headers", "x" * 9_999), max_bytes=100_000)
    assert len(dict(letter.headers)["deadletter_error"]) == 500


@given(BYTES, BYTES, st.lists(st.tuples(st.text(max_size=9) | st.just("x" * MAX_BYTES), BYTES), max_size=9), st.text())
def test_every_record_has_a_letter_that_fits_and_tells_where_it_lay(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], text: str
) -> None:
    error = BadFrameError("headers", text)
    letter = dead_letter(record(value, *headers, key=key), "decode", error, max_bytes=MAX_BYTES)
    assert letter.key is not None or letter.value is not None
    sent = (letter.key, letter.value, letter.headers)
    assert DefaultRecordBatchBuilder.estimate_size_in_bytes(*sent) <= MAX_BYTES
    told = parse_dead_letter(SimpleNamespace(**vars(letter), partition=0, offset=1, timestamp=2)).failure
    assert (told.reason, told.topic, told.partition, told.offset) == ("headers", "framematch.frames", 3, 7)
    if told.omitted_bytes is None:
        assert (letter.key, letter.value or b"") == (key, value or b"")
        assert letter.headers[: len(headers)] == headers


def test_many_small_headers_are_counted_with_what_kafka_adds_to_each() -> None:
    letter = dead_letter(record(b"", *[("x", None)] * 4_000), "decode", ERROR, max_bytes=MAX_BYTES)
    assert DefaultRecordBatchBuilder.estimate_size_in_bytes(letter.key, letter.value, letter.headers) <= MAX_BYTES
