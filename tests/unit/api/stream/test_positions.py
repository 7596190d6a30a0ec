"""Event ids: small, exact, and refused when damaged."""

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framematch.api.stream.positions import KINDS, NO_TAG, InvalidEventIdError, Positions, tag_of

OFFSETS = st.integers(0, 2**63 - 1)
TAGS = st.binary(min_size=4, max_size=4)


@st.composite
def positions(draw: st.DrawFn) -> Positions:
    found = Positions()
    for topic in range(len(KINDS)):
        found.tags[topic] = draw(TAGS)
        for partition, offset in enumerate(draw(st.lists(OFFSETS, max_size=5))):
            found.move(topic, partition, offset)
    return found


@settings(max_examples=40)
@given(positions())
def test_an_id_is_read_as_the_positions_that_it_was_made_of(at: Positions) -> None:
    read = Positions.decode(at.encode().decode())
    assert (read.tags, read.offsets) == (at.tags, at.offsets)
    assert read.encode() == at.encode()


@settings(max_examples=40)
@given(positions())
def test_an_id_is_a_plain_word(at: Positions) -> None:
    assert at.encode().decode().replace("-", "").replace("_", "").isalnum()


@settings(max_examples=40)
@given(positions(), st.data())
def test_an_id_with_a_changed_or_missing_character_is_refused(at: Positions, data: st.DataObject) -> None:
    text = at.encode().decode()
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_=. é").filter(lambda one: one != text[place]))
    for damaged in (text[:place] + other + text[place + 1 :], text[:place] + text[place + 1 :], text + other):
        with pytest.raises(InvalidEventIdError):
            Positions.decode(damaged)


@settings(max_examples=40)
@given(st.text(max_size=200))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(InvalidEventIdError):
        Positions.decode(text)


def test_an_id_of_a_later_version_is_refused_with_its_version() -> None:
    with pytest.raises(InvalidEventIdError, match="its version is 2"):
        Positions.decode(_of_version(Positions(), 2))


def _of_version(at: Positions, version: int) -> bytes:
    text = at.encode()
    body = bytes((version,)) + urlsafe_b64decode(text + b"=" * (-len(text) % 4))[1:-4]
    return urlsafe_b64encode(body + zlib.crc32(body).to_bytes(4)).rstrip(b"=")


def test_an_id_of_two_topics_with_twelve_partitions_is_short() -> None:
    at = Positions()
    for topic in (0, 1):
        for partition in range(12):
            at.move(topic, partition, 1_000_000 + partition)
    assert len(at.encode()) < 130


@settings(max_examples=40)
@given(positions())
def test_a_copy_changes_apart(at: Positions) -> None:
    before = at.encode()
    copy = at.copy()
    assert copy.encode() == before
    copy.move(0, 7, 1)
    copy.restart(1, b"abcd")
    assert at.encode() == before


@settings(max_examples=40)
@given(positions(), positions())
def test_positions_that_advance_cover_both_and_nothing_more(one: Positions, other: Positions) -> None:
    reached = one.copy()
    reached.advance_to(other)
    assert one.is_covered_by(reached)
    assert other.is_covered_by(reached)
    for topic, offsets in enumerate(reached.offsets):
        for partition, offset in enumerate(offsets):
            assert offset in {one.offset(topic, partition), other.offset(topic, partition)}


def test_a_partition_that_is_not_known_yet_counts_as_read_from_its_first_event() -> None:
    one, other = Positions(), Positions()
    other.move(0, 3, 0)
    assert one.is_covered_by(other)
    assert other.is_covered_by(one)
    other.move(0, 3, 1)
    assert one.is_covered_by(other)
    assert not other.is_covered_by(one)


@pytest.mark.parametrize(
    ("ours", "theirs", "contradicts"),
    [(b"abcd", b"abcd", []), (b"abcd", b"efgh", [1]), (NO_TAG, b"efgh", []), (b"abcd", NO_TAG, [])],
)
def test_a_topic_that_was_recreated_is_noticed_by_its_tag(ours: bytes, theirs: bytes, contradicts: list[int]) -> None:
    one, other = Positions(), Positions()
    one.tags[1], other.tags[1] = ours, theirs
    assert one.contradicts(other) == contradicts


def test_brokers_without_topic_ids_give_no_tag() -> None:
    assert tag_of(None) == NO_TAG
    assert tag_of(bytes(range(16))) == bytes((12, 13, 14, 15))
