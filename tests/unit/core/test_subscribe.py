"""Which events a subscriber selects, and the errors for wrong selections."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

import framematch
from framematch.core.errors import SettingsError, UsageError
from framematch.core.event_reader import Selection
from framematch.core.events import MatchEvent, encode
from framematch.core.subscribe import select_matches, select_sightings, subscribe
from tests.sample_events import match_event, sighting_event

MILK = match_event(1)
UNSURE = match_event(2, decision="ambiguous")
BREAD = match_event(3, camera="till-2", product="bread")
CAME = sighting_event()


def record(key: bytes | None, value: bytes | None) -> Any:
    return SimpleNamespace(key=key, value=value)


def chosen(selection: Selection[MatchEvent]) -> str:
    events = (MILK, UNSURE, BREAD)
    found = [selection.read(record(event.frame.camera.encode(), encode(event))) for event in events]
    return " ".join(str(received.event.frame.sequence) for received in found if received)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({}, "1 2 3"),
        ({"cameras": ["till-1"]}, "1 2"),
        ({"cameras": "till-1"}, "1 2"),
        ({"cameras": {"till-1", "till-2"}}, "1 2 3"),
        ({"cameras": "till"}, ""),
        ({"products": ["milk", "bread"]}, "1 3"),
        ({"products": "bread"}, "3"),
        ({"decisions": "ambiguous"}, "2"),
        ({"decisions": ["match", "unknown"]}, "1 3"),
        ({"cameras": "till-1", "products": "milk", "decisions": "match"}, "1"),
        ({"cameras": "till-2", "products": "milk"}, ""),
    ],
)
def test_events_are_selected_by_camera_product_and_decision(wanted: dict[str, Any], numbers: str) -> None:
    assert chosen(select_matches(**wanted)) == numbers


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [({}, True), ({"cameras": "till-1", "products": "milk", "kinds": ["started", "ended"]}, True),
     ({"kinds": "ended"}, False), ({"products": "bread"}, False), ({"cameras": "till-2"}, False)],
)  # fmt: skip
def test_sightings_are_selected_by_camera_product_and_kind(wanted: dict[str, Any], fits: bool) -> None:
    assert (select_sightings(**wanted).read(record(b"till-1", encode(CAME))) is not None) == fits


def test_an_event_is_read_with_its_bytes_in_the_topic() -> None:
    value = encode(MILK)[:-1] + b',"added": 1}'
    received = select_matches().read(record(b"till-1", value))
    assert received is not None
    assert (received.event, received.value) == (MILK, value)


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"{}", b"[]", encode(CAME)])
def test_what_is_no_match_event_is_refused(value: bytes | None) -> None:
    with pytest.raises(msgspec.DecodeError):
        select_matches().read(record(b"till-1", value))


def test_a_record_without_a_key_belongs_to_no_camera() -> None:
    assert select_matches(cameras="till-1").read(record(None, encode(MILK))) is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"decisions": "macth"}, "there is no decision 'macth'. Use one of match, ambiguous, unknown"),
        ({"start": "beginning"}, "there is no start 'beginning'. Use one of latest, earliest"),
    ],
)
async def test_unknown_names_are_refused_before_connecting(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        async with subscribe(bootstrap_servers="127.0.0.1:1", **asked):
            pass
    assert str(refused.value) == said


async def test_without_an_address_the_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="Set KAFKA_BOOTSTRAP_SERVERS"):
        async with subscribe():
            pass


def test_only_public_names_can_be_imported() -> None:
    assert {name: getattr(framematch, name).__name__ for name in framematch.__all__} == {
        name: name for name in framematch.__all__
    }
    with pytest.raises(AttributeError, match="no attribute 'unsubscribe'"):
        _ = framematch.unsubscribe  # type: ignore[attr-defined]  # there is none
