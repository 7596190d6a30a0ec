"""Batches of records in Kafka's format, as other clients or a damaged disk make them."""

import struct
from collections.abc import Callable

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
_CRC_AT, _ATTRIBUTES_AT, _MAGIC_AT, _RECORDS_AT = 17, 21, 16, 61


def batch(values: list[bytes], *, codec: int = NONE, offset: int = 0, header: str = "") -> bytearray:
    """A batch of records with key `till-1`, the first one at this offset."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1_000_000)
    for number, value in enumerate(values):
        builder.append(number, 1_700_000_000_000, b"till-1", value, [(header, b"")] if header else [])
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, offset)
    return data


def _sealed(data: bytearray) -> bytearray:
    struct.pack_into(">I", data, _CRC_AT, calc_crc32c(bytes(data[_ATTRIBUTES_AT:])))
    return data


def flip_a_bit(data: bytearray) -> bytearray:
    """As a failing disk does: the check sum is wrong."""
    data[-1] ^= 1
    return data


def unknown_codec(data: bytearray) -> bytearray:
    """Compressed by a codec that does not exist yet."""
    struct.pack_into(">h", data, _ATTRIBUTES_AT, 5)
    return _sealed(data)


def future_version(data: bytearray) -> bytearray:
    """In a version of the format that does not exist yet, and whose check sum is elsewhere."""
    data[_MAGIC_AT] = 3
    return flip_a_bit(data)


def broken_payload(data: bytearray) -> bytearray:
    """The check sum is right, but what was compressed is not."""
    data[_RECORDS_AT : _RECORDS_AT + 12] = bytes(12)
    return _sealed(data)


def header_that_is_no_text(data: bytearray) -> bytearray:
    """A header whose name is not UTF-8; made of `batch(…, header="name")`."""
    at = data.index(b"name")
    data[at : at + 4] = b"\xff\xfe\xfd\xfc"
    return _sealed(data)


Damage = Callable[[bytearray], bytearray]
