"""What clients get of a record: its bytes, unchanged, if they want it and may see it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framematch.api.stream.events import Published, Wanted, event_text, published
from framematch.core.events import encode
from tests.event_stream import SseEvent, SseParser
from tests.sample_events import match_event, sighting_event
from tests.unit.api.stream.stream_items import record

STATUS = b'{"schema":"camera-status.v1","camera":"till-1","state":"online"}'


def sample(kind: str) -> bytes:
    return {"match": encode(match_event()), "sighting": encode(sighting_event()), "status": STATUS}[kind]


def seen(event: Published) -> SseEvent:
    [found] = SseParser().feed(event.text + b"id: x\n\n")
    return found


@pytest.mark.parametrize(("topic", "kind"), list(enumerate(("match", "sighting", "status"))))
def test_an_event_is_the_bytes_of_its_record(topic: int, kind: str) -> None:
    value = sample(kind)
    assert seen(published(topic, record(kind, value))) == SseEvent(kind, value.decode(), "x")


@settings(max_examples=30)
@given(st.dictionaries(st.text(max_size=8), st.lists(st.text(max_size=8), max_size=3), max_size=3))
def test_indented_json_of_another_producer_stays_the_same_json(extra: object) -> None:
    value = msgspec.json.format(msgspec.json.encode({"camera": "till-1", "more": extra}), indent=2)
    assert msgspec.json.decode(seen(published(2, record("status", value))).data) == msgspec.json.decode(value)


def test_a_removed_camera_is_an_event_of_its_own() -> None:
    found = seen(published(2, record("status", None, key=b"till-9")))
    assert (found.type, found.data) == ("status_removed", '{"camera":"till-9"}')


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b'{"camera":1}', b"\xff", b"[" * 100_000])
@pytest.mark.parametrize(("topic", "kind"), [(0, "match"), (1, "sighting")])
def test_a_record_that_is_no_event_is_refused(topic: int, kind: str, value: bytes | None) -> None:
    with pytest.raises(msgspec.DecodeError):
        published(topic, record(kind, value))


@settings(max_examples=50)
@given(st.text(alphabet="abc\r\n", max_size=12))
def test_no_text_breaks_out_of_its_event(text: str) -> None:
    parsed = SseParser().feed(event_text("match", b"{" + text.encode() + b"}") + b"id: x\n\n")
    assert [one.type for one in parsed] == ["match"]
    assert "".join(parsed[0].data.split()) == "{" + "".join(text.split()) + "}"


EVENTS = {
    "match": published(0, record("match", encode(match_event(score=0.9)))),
    "unknown": published(0, record("match", encode(match_event(decision="unknown", score=0.3)))),
    "nothing": published(0, record("match", encode(match_event(decision="unknown", score=None)))),
    "sighting": published(1, record("sighting", encode(sighting_event(camera="till-2")))),
    "status": published(2, record("status", STATUS)),
    "removed": published(2, record("status", None, key=b"till-3")),
}


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Wanted(), "match unknown nothing sighting status removed"),
        (Wanted(frozenset({"status"})), "status removed"),
        (Wanted(frozenset({"match", "sighting"})), "match unknown nothing sighting"),
        (Wanted(cameras=frozenset({"till-2", "till-3"})), "sighting removed"),
        (Wanted(products=frozenset({"milk"})), "match sighting status removed"),
        (Wanted(products=frozenset({"bread"})), "status removed"),
        (Wanted(decisions=frozenset({"unknown"})), "unknown nothing sighting status removed"),
        (Wanted(min_score=0.5), "match sighting status removed"),
        (Wanted(min_score=-1), "match unknown sighting status removed"),
        (Wanted(sees=lambda camera: camera != "till-1"), "sighting removed"),
    ],
)
def test_a_filter_is_about_the_events_that_have_the_field(wanted: Wanted, taken: str) -> None:
    assert " ".join(name for name, event in EVENTS.items() if wanted.takes(event)) == taken
