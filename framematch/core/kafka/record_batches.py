"""Reads the batches of records in a broker's answer up to the first one that cannot be decoded. No I/O."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")

_CODEC_MASK = 0x07
# Base offset and length come first in every version of the format, and the version is at the same place.
_FRAME = struct.Struct(">qi")
_V2 = struct.Struct(">qiibIhi")  # base offset, length, leader epoch, magic, CRC, attributes, last offset delta
_V1 = struct.Struct(">qiIbb")  # offset, length, CRC, magic, attributes
_MAGIC_AT = 16
_MAGIC_V2 = 2
_MAX_DELTA = 10_000_000  # more is no number of records in a batch, but damage


@dataclass(frozen=True)
class UnreadableBatch:
    """A batch that cannot be decoded, with the offsets [`first`, `stop`)."""

    first: int
    stop: int
    codec: str
    error: str


@dataclass(frozen=True)
class _Batch:
    first: int
    stop: int
    codec: str


def read_batches(
    partition: TopicPartition,
    offset: int,
    data: bytes,
    aborted: Sequence[tuple[int, int]] | None,
    isolation_level: int,
) -> tuple[list[ConsumerRecord], UnreadableBatch | None]:
    """Decode the records from `offset` on, as aiokafka does, and name the batch at which that fails.

    Args:
        partition: where they come from.
        offset: records below it are not returned.
        data: whole batches; the last one may be cut.
        aborted: producer id and first offset of the aborted transactions among them.
        isolation_level: 1 leaves these out.
    """
    decoded = PartitionRecords(partition, MemoryRecords(data), aborted, offset, None, None, True, isolation_level)
    records = []
    try:
        _check_framing(data)
        for record in decoded:
            records.append(record)  # noqa: PERF402  # the records before an error are kept
    except Exception as error:  # noqa: BLE001  # of any codec or decoder, which have no common class
        at = decoded.next_fetch_offset
        batch = next((one for one in _batches(data) if one.stop > at), _Batch(at, at + 1, "unknown"))
        return records, UnreadableBatch(batch.first, batch.stop, batch.codec, _text(error))
    return records, None


def _check_framing(data: bytes) -> None:
    if data and not MemoryRecords(data).has_next():
        raise CorruptRecordException("its length is wrong")


def _batches(data: bytes) -> list[_Batch]:
    """The batches by their headers, which are never compressed."""
    found: list[_Batch] = []
    position = 0
    while position + _V2.size <= len(data):
        first, length = _FRAME.unpack_from(data, position)
        end = position + _FRAME.size + length
        if length <= 0 or end > len(data):
            break
        if found:  # a damaged header must not skip the batches behind it
            found[-1] = replace(found[-1], stop=min(found[-1].stop, max(first, found[-1].first + 1)))
        found.append(_batch(data, position, first))
        position = end
    return found


def _batch(data: bytes, position: int, first: int) -> _Batch:
    magic = data[position + _MAGIC_AT]
    if magic < _MAGIC_V2:
        return _Batch(first, first + 1, _codec(_V1.unpack_from(data, position)[-1]))
    *_, attributes, delta = _V2.unpack_from(data, position)
    codec = _codec(attributes) if magic == _MAGIC_V2 else f"unknown, in version {magic} of the format"
    return _Batch(first, first + 1 + (delta if 0 <= delta < _MAX_DELTA else 0), codec)


def _codec(attributes: int) -> str:
    number = attributes & _CODEC_MASK
    return CODECS[number] if number < len(CODECS) else f"unknown ({number})"


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
