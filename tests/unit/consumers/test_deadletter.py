"""Dead letters keep the record whole, say why, and always fit."""

from types import SimpleNamespace
from typing import Any

from consumers.deadletter import dead_letter
from framematch.core.errors import BadFrameError

ERROR = BadFrameError("truncated", "the JPEG ends early")


def record(value: bytes | None, *headers: tuple[str, bytes]) -> Any:
    where: dict[str, Any] = {"topic": "framematch.frames", "partition": 3, "offset": 7}
    return SimpleNamespace(value=value, headers=headers, timestamp=1_767_225_600_123, **where)


def test_a_letter_is_the_record_byte_for_byte_with_the_reason_added() -> None:
    letter = dead_letter(record(b"bytes", ("ce_id", b"x")), "decode", ERROR, max_bytes=100_000)
    assert letter.value == b"bytes"
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


def test_a_record_that_does_not_fit_is_named_by_its_coordinates() -> None:
    letter = dead_letter(record(bytes(100_000), ("ce_id", bytes(10))), "decode", ERROR, max_bytes=100_000)
    assert letter.value is None
    assert dict(letter.headers)["deadletter_omitted_bytes"] == b"100015"
    assert dict(letter.headers)["deadletter_offset"] == b"7"


def test_a_long_error_is_cut() -> None:
    letter = dead_letter(record(b""), "decode", BadFrameError("headers", "x" * 9_999), max_bytes=100_000)
    assert len(dict(letter.headers)["deadletter_error"]) == 500
