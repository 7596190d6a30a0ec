"""The position of a client in the streamed topics, and the event id that it becomes.

An id is base64url without padding of: a version; for each topic of `KINDS` its tag, the number of its partitions, and
the next offset of each of them; a CRC-32. Numbers are varints, as in Protocol Buffers. An id does not depend on the
process that made it, so a client may resume at another one.
"""

import binascii
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from itertools import zip_longest
from typing import Self

KINDS = ("match", "sighting", "status")
"""What is streamed, in the order of the topics in an id."""

NO_TAG = bytes(4)
"""Of a topic that does not exist, or whose brokers have no topic ids."""

MAX_ID_LENGTH = 16_384
_VERSION = 1
_CRC_BYTES = 4
_VARINT_BITS = 7
_VARINT_LOW = (1 << _VARINT_BITS) - 1
_OFFSET_BITS = 63


class InvalidEventIdError(ValueError):
    """The text is no event id of this stream."""


def tag_of(topic_id: bytes | None) -> bytes:
    """What an id contains of a topic's id, so that a topic that was recreated is noticed."""
    return topic_id[-len(NO_TAG) :] if topic_id else NO_TAG


class Positions:
    """The next offset of each partition of each streamed topic; 0 for a partition that is not known yet.

    A partition that was added later is read from its first event, as nobody has read it. `tags` and `offsets` are in
    the order of `KINDS`; offsets change by the methods alone.
    """

    def __init__(self) -> None:
        self.tags = [NO_TAG for _ in KINDS]
        self.offsets: list[list[int]] = [[] for _ in KINDS]
        self._encoded: list[list[bytes]] = [[] for _ in KINDS]  # the same as varints: an id changes one of many

    def copy(self) -> Self:
        """A copy that changes apart."""
        new = type(self)()
        new.tags = self.tags[:]
        for topic, offsets in enumerate(self.offsets):
            for partition, offset in enumerate(offsets):
                new.move(topic, partition, offset)
        return new

    def offset(self, topic: int, partition: int) -> int:
        """The next offset of a partition; `topic` counts `KINDS`."""
        offsets = self.offsets[topic]
        return offsets[partition] if partition < len(offsets) else 0

    def move(self, topic: int, partition: int, offset: int) -> None:
        """Set the next offset of a partition."""
        offsets, encoded = self.offsets[topic], self._encoded[topic]
        while len(offsets) <= partition:
            offsets.append(0)
            encoded.append(_varint(0))
        offsets[partition] = offset
        encoded[partition] = _varint(offset)

    def partitions(self, topic: int) -> int:
        """How many partitions of this topic are known."""
        return len(self.offsets[topic])

    def restart(self, topic: int, tag: bytes) -> None:
        """Forget the offsets of a topic: it was recreated."""
        self.tags[topic] = tag
        self.offsets[topic] = []
        self._encoded[topic] = []

    def is_covered_by(self, other: "Positions") -> bool:
        """Whether `other` has everything before these positions behind it."""
        pairs = zip(self.offsets, other.offsets, strict=True)
        return all(ours <= theirs for one, two in pairs for ours, theirs in zip_longest(one, two, fillvalue=0))

    def advance_to(self, other: "Positions") -> None:
        """Move each partition forward to where `other` is, if that is further."""
        for topic, offsets in enumerate(other.offsets):
            for partition, offset in enumerate(offsets):
                if offset > self.offset(topic, partition) or partition >= self.partitions(topic):
                    self.move(topic, partition, max(offset, self.offset(topic, partition)))

    def contradicts(self, other: "Positions") -> list[int]:
        """The topics whose offsets cannot be compared, because one is a topic that was recreated since."""
        pairs = enumerate(zip(self.tags, other.tags, strict=True))
        return [topic for topic, (ours, theirs) in pairs if ours != theirs and NO_TAG not in (ours, theirs)]

    def encode(self) -> bytes:
        """The event id."""
        parts = [bytes((_VERSION,))]
        for tag, encoded in zip(self.tags, self._encoded, strict=True):
            parts += (tag, _varint(len(encoded)), *encoded)
        body = b"".join(parts)
        return urlsafe_b64encode(body + zlib.crc32(body).to_bytes(_CRC_BYTES)).rstrip(b"=")

    @classmethod
    def decode(cls, text: str | bytes) -> Self:
        """The positions in an event id.

        Raises:
            InvalidEventIdError: it is damaged, or no event id at all.
        """
        numbers = _Bytes(_checked(text))
        found = cls()
        for topic in range(len(KINDS)):
            found.tags[topic] = numbers.take(len(NO_TAG))
            for partition in range(numbers.varint()):
                found.move(topic, partition, numbers.varint())
        if not numbers.at_end:
            raise InvalidEventIdError("it is too long")
        return found


def _checked(text: str | bytes) -> bytes:
    """The bytes between the version and the checksum."""
    if len(text) > MAX_ID_LENGTH:
        raise InvalidEventIdError(f"it is longer than {MAX_ID_LENGTH} characters")
    try:
        plain = text.encode("ascii") if isinstance(text, str) else text
        whole = urlsafe_b64decode(plain + b"=" * (-len(plain) % 4))
    except (binascii.Error, ValueError):
        raise InvalidEventIdError("it is not base64url") from None
    body, checksum = whole[:-_CRC_BYTES], whole[-_CRC_BYTES:]
    if not body or zlib.crc32(body).to_bytes(_CRC_BYTES) != checksum or urlsafe_b64encode(whole).rstrip(b"=") != plain:
        raise InvalidEventIdError("its checksum is wrong")
    if body[0] != _VERSION:
        raise InvalidEventIdError(f"its version is {body[0]}, and this service knows {_VERSION}")
    return body[1:]


class _Bytes:
    """Reads bytes one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise InvalidEventIdError("it is too short")
        self._at += count
        return found

    def varint(self) -> int:
        number = 0
        for shift in range(0, _OFFSET_BITS, _VARINT_BITS):
            byte = self.take(1)[0]
            number |= (byte & _VARINT_LOW) << shift
            if byte <= _VARINT_LOW:
                return number
        raise InvalidEventIdError("an offset in it is too large")

    @property
    def at_end(self) -> bool:
        return self._at == len(self._data)


def _varint(number: int) -> bytes:
    return bytes(_varint_bytes(number))


def _varint_bytes(number: int) -> Iterator[int]:
    while number > _VARINT_LOW:
        yield (number & _VARINT_LOW) | (_VARINT_LOW + 1)
        number >>= _VARINT_BITS
    yield number
