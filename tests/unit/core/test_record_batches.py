"""Records that a client cannot decode are named, and cost no others."""

import struct

import pytest
from aiokafka import TopicPartition

from framematch.core.kafka.record_batches import UnreadableBatch, read_batches
from tests.record_batches import (
    GZIP,
    LZ4,
    NONE,
    SNAPPY,
    ZSTD,
    Damage,
    batch,
    broken_payload,
    flip_a_bit,
    future_version,
    header_that_is_no_text,
    unknown_codec,
)

PARTITION = TopicPartition("framematch.frames", 3)


def read(data: bytes | bytearray, offset: int = 0) -> tuple[list[tuple[int, bytes]], UnreadableBatch | None]:
    records, unreadable = read_batches(PARTITION, offset, bytes(data), None, 1)
    return [(record.offset, record.value) for record in records], unreadable


@pytest.mark.parametrize("codec", [NONE, GZIP, SNAPPY, LZ4, ZSTD])
def test_every_codec_of_kafka_is_read(codec: int) -> None:
    assert read(batch([b"a" * 50, b"b" * 50], codec=codec, offset=7), 7) == ([(7, b"a" * 50), (8, b"b" * 50)], None)


@pytest.mark.parametrize("offset", [2, 3])
@pytest.mark.parametrize(
    ("damage", "codec", "name", "error"),
    [
        (flip_a_bit, NONE, "none", "CRC"),
        (flip_a_bit, ZSTD, "zstd", "CRC"),
        (unknown_codec, NONE, "unknown (5)", ""),
        (broken_payload, GZIP, "gzip", ""),
        (broken_payload, SNAPPY, "snappy", ""),
        (broken_payload, LZ4, "lz4", ""),
        (broken_payload, ZSTD, "zstd", ""),
        (header_that_is_no_text, NONE, "none", "utf-8"),
        (future_version, NONE, "unknown, in version 3 of the format", ""),
    ],
)
def test_the_records_before_a_batch_that_cannot_be_read_are_returned_and_the_batch_is_named(
    damage: Damage, codec: int, name: str, error: str, offset: int
) -> None:
    bad = damage(batch([b"x" * 50] * 3, codec=codec, offset=4, header="name"))
    data = batch([b"a", b"b"], offset=2) + bad + batch([b"c"], offset=7)
    records, unreadable = read(data, offset)
    assert records == [(2, b"a"), (3, b"b")][offset - 2 :]
    assert unreadable
    assert (unreadable.first, unreadable.stop, unreadable.codec) == (4, 7, name)
    assert error in unreadable.error
    assert read(data[len(batch([b"a", b"b"])) + len(bad) :], unreadable.stop) == ([(7, b"c")], None)


def test_a_damaged_header_does_not_hide_the_batches_behind_it() -> None:
    bad = batch([b"x"], offset=4)
    struct.pack_into(">i", bad, 23, 1_000)  # the last offset in the batch
    _, unreadable = read(bad + batch([b"c"], offset=5), 4)
    assert unreadable
    assert (unreadable.first, unreadable.stop) == (4, 5)


def test_bytes_that_are_no_batch_are_passed_offset_by_offset() -> None:
    _, unreadable = read(b"\0" * 8 + b"\x7f\xff\xff\xff" + b"\0" * 80, 4)
    assert unreadable
    assert (unreadable.first, unreadable.stop) == (4, 5)
