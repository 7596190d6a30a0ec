"""A dead letter has the reason and origin of a failure, and the unchanged record."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from aiokafka import ConsumerRecord

from framematch.core.deadletters import DeadLetter, Failure, dead_letter, parse_dead_letter
from framematch.core.errors import BadFrameError
from framematch.core.kafka.records import ProducerRecord

ORIGINAL = ConsumerRecord(
    topic="framematch.frames", partition=3, offset=7, timestamp=1_767_225_600_123, timestamp_type=0, key=b"till-1",
    value=b"bytes", checksum=None, serialized_key_size=6, serialized_value_size=5,
    headers=(("ce_id", b"x"), ("ce_id", b"y"), ("odd", None)),
)  # fmt: skip


def record(value: bytes | None, headers: list[tuple[str, bytes]], key: bytes | None = b"till-1") -> Any:
    return ConsumerRecord(
        topic="framematch.deadletter", partition=1, offset=12, timestamp=1_767_225_700_000, timestamp_type=0, key=key,
        value=value, checksum=None, serialized_key_size=0, serialized_value_size=0, headers=tuple(headers),
    )  # fmt: skip


def dead_letter_of(original: ConsumerRecord, *, max_bytes: int = 100_000) -> DeadLetter:
    error = BadFrameError("truncated", "it ends early")
    written = dead_letter(original, "decode", error, topic="framematch.deadletter", max_bytes=max_bytes)
    return parse_dead_letter(record(written.value, list(written.headers), original.key))


def test_a_dead_letter_has_the_record_that_failed_and_the_reason() -> None:
    parsed = dead_letter_of(ORIGINAL)
    assert (parsed.key, parsed.value, parsed.headers) == (ORIGINAL.key, ORIGINAL.value, ORIGINAL.headers)
    assert parsed.failure == Failure(
        "decode", "truncated", "it ends early", "framematch.frames", 3, 7, 1_767_225_600_123
    )
    assert (parsed.position, parsed.at_ms, parsed.camera) == ((1, 12), 1_767_225_700_000, "till-1")
    assert (parsed.whole, parsed.size_bytes) == (True, 5)


def test_the_original_record_can_be_sent_again_with_its_time() -> None:
    assert dead_letter_of(ORIGINAL).original("frames") == ProducerRecord(
        "frames", ORIGINAL.key, ORIGINAL.value, ORIGINAL.headers, ORIGINAL.timestamp
    )


def test_a_record_without_a_timestamp_has_none_in_its_dead_letter_and_when_it_is_sent_again() -> None:
    written = dead_letter(
        replace(ORIGINAL, timestamp=-1), "decode", BadFrameError("truncated", ""), topic="d", max_bytes=100_000
    )
    assert "deadletter_timestamp_ms" not in dict(written.headers)
    assert dead_letter_of(replace(ORIGINAL, timestamp=-1)).original("frames").timestamp_ms is None


def test_a_dead_letter_of_an_older_consumer_may_have_the_timestamp_minus_1() -> None:
    headers = Failure("decode", "truncated", "", "framematch.frames", 3, 7, -1).headers()
    assert parse_dead_letter(record(b"x", headers)).failure.timestamp_ms is None


def test_a_record_whose_bytes_were_omitted_is_not_whole() -> None:
    parsed = dead_letter_of(ORIGINAL, max_bytes=10)
    assert (parsed.whole, parsed.value, parsed.headers) == (False, None, ())
    assert parsed.size_bytes == len(b"bytesce_idxce_idyodd")


def test_a_dead_letter_that_was_copied_and_failed_again_has_the_last_reason() -> None:
    first = Failure("decode", "headers", "ce_id is missing", "framematch.frames", 0, 1).headers()
    parsed = dead_letter_of(replace(ORIGINAL, headers=tuple(first)))
    assert (parsed.failure.reason, parsed.failure.offset, parsed.headers) == ("truncated", 7, ())


def test_a_record_without_a_key_has_no_camera() -> None:
    assert parse_dead_letter(record(b"", Failure("decode", "headers", "", "t", 0, 0).headers(), None)).camera == ""


@pytest.mark.parametrize("headers", [[], [("deadletter_stage", b"decode")], [("deadletter_offset", b"\xff")]])
def test_what_is_no_dead_letter_is_refused(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(msgspec.ValidationError):
        parse_dead_letter(record(b"x", headers))
