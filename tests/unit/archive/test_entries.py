"""From the records of the topics to what is stored of them."""

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from framematch.archive.entries import Entry, RefusedRecordError, entry_of, newest
from framematch.core.events import encode
from framematch.core.kafka.topics import Topics
from tests.sample_events import AT_US, log_event, match_event, sighting_event

TOPICS = Topics("shop")


def record(topic: str, value: bytes | None) -> Any:
    return ConsumerRecord(
        topic=topic, partition=3, offset=7, timestamp=9, timestamp_type=0, key=b"till-1", value=value, checksum=None,
        serialized_key_size=0, serialized_value_size=0, headers=(),
    )  # fmt: skip


def entry(topic: str, value: bytes | None) -> Entry:
    return entry_of(record(topic, value), TOPICS)


def test_a_match_event_is_stored_with_its_filters_and_exactly_as_it_was_published() -> None:
    event = match_event(5)
    stored = entry(TOPICS.matches, value := encode(event) + b" ")
    assert (stored.collection, stored.id, stored.version) == ("matches", event.id, None)
    assert (stored.place.partition, stored.place.offset, stored.timestamp_ms) == (3, 7, 9)
    assert stored.fields == {
        "captured_at": datetime(2026, 1, 1, tzinfo=UTC),
        "captured_us": AT_US,
        "camera": "till-1",
        "product": "milk",
        "decision": "match",
        "score": 0.9,
        "snapshot": "20260101-000000-abcdef",
        "event": value.decode(),
    }


def test_an_event_without_a_product_has_none_to_filter_by() -> None:
    fields = entry(TOPICS.matches, encode(match_event(decision="unknown", score=None))).fields
    assert (fields["product"], fields["score"]) == (None, None)


def test_a_sighting_is_one_document_whatever_its_state() -> None:
    kinds = [entry(TOPICS.sightings, encode(sighting_event(kind))) for kind in ("started", "updated", "ended")]
    assert {(one.collection, one.id) for one in kinds} == {("sightings", "till-1-milk")}
    assert [one.fields["kind"] for one in sorted(kinds, key=lambda one: one.version or 0)] == [
        "started", "updated", "ended",
    ]  # fmt: skip


def test_a_log_event_can_be_found_by_its_service_level_name_and_camera() -> None:
    fields = entry(TOPICS.logs, encode(log_event())).fields
    assert {name: fields[name] for name in ("service", "level", "name", "camera", "logged_us")} == {
        "service": "edge", "level": "info", "name": "camera_opened", "camera": "till-1", "logged_us": AT_US,
    }  # fmt: skip
    odd = entry(TOPICS.logs, encode(replace(log_event(), fields={"camera": ["a"], "$x.y": 2**63, "\0": 1})))
    assert odd.fields["camera"] is None


@pytest.mark.parametrize("order", list(itertools.permutations(("started", "updated", "ended"))))
def test_the_newest_state_of_a_sighting_wins_in_any_order(order: tuple[Any, ...]) -> None:
    seen_us = {"started": AT_US, "updated": AT_US + 5, "ended": AT_US + 5}
    states = [entry(TOPICS.sightings, encode(sighting_event(kind, seen_us=seen_us[kind]))) for kind in order]
    [kept] = newest(states)
    assert kept.fields["kind"] == "ended"


@given(st.permutations([(kind, at) for kind in ("started", "updated", "ended") for at in (0, 1, 2)]))
def test_an_end_is_the_last_state_and_otherwise_the_latest_sight(states: list[tuple[Any, int]]) -> None:
    entries = [entry(TOPICS.sightings, encode(sighting_event(kind, seen_us=AT_US + at))) for kind, at in states]
    ordered = sorted(entries, key=lambda one: one.version or 0)
    found = [(json.loads(one.fields["event"])["last_seen_at"][-3:-1], one.fields["kind"]) for one in ordered]
    assert [kind for _, kind in found[-3:]] == ["ended"] * 3
    assert found[:-3] == sorted(found[:-3], key=lambda one: (one[0], one[1] != "started"))


def test_of_equal_events_in_a_batch_the_first_is_kept() -> None:
    first, second = (entry(TOPICS.matches, encode(match_event(1))) for _ in range(2))
    assert newest([first, second, entry(TOPICS.matches, encode(match_event(2)))])[0] is first


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not_an_event"),
        (b"no json", "not_an_event"),
        (b"[]", "not_an_event"),
        (b"{}", "not_an_event"),
        (b'{"schema": "match.v2"}', "newer_schema"),
        (b'{"schema": "sighting.v1"}', "not_an_event"),
        (b'{"schema": ' + b"[" * 100_000, "not_an_event"),
        (encode(match_event()).replace(b"2026-", b"9999-99"), "not_an_event"),
        (encode(match_event())[:-1] + b',"more":"\xff"}', "not_an_event"),
        (encode(replace(match_event(), id="")), "id"),
        (encode(replace(match_event(), id="x" * 201)), "id"),
        (encode(match_event())[:-1] + b',"more":"' + b"x" * 2**24 + b'"}', "too_large"),
    ],
)
def test_a_record_that_cannot_be_stored_says_why(value: bytes | None, reason: str) -> None:
    with pytest.raises(RefusedRecordError) as refused:
        entry(TOPICS.matches, value)
    assert refused.value.reason == reason


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.9Z"])
def test_a_time_of_any_year_can_be_stored(time: str) -> None:
    value = encode(match_event()).replace(b"2026-01-01T00:00:00.000000Z", time.encode())
    assert bson.decode(bson.encode(entry(TOPICS.matches, value).fields))["event"] == value.decode()
