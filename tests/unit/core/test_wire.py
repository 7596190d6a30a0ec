"""The wire format, pinned by golden files: a change that breaks them needs a new schema version."""

import functools
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framematch.core.camera_settings import WantedCamera, WantedSource, decode_wanted, encode_wanted
from framematch.core.cloud_events import log_headers, match_headers, sighting_headers
from framematch.core.errors import BadFrameError
from framematch.core.events import (
    MATCH_SCHEMA,
    SIGHTING_SCHEMA,
    BestPicture,
    CameraStatus,
    CandidateInfo,
    DecisionReason,
    LogEvent,
    MatchEvent,
    ModelInfo,
    ProductInfo,
    RefusedSettings,
    SightingEvent,
    SightingLink,
    SkuInfo,
    decode,
    encode,
    frame_reference,
    json_schema,
)
from framematch.core.frames import Frame, frame_headers, parse_frame
from framematch.core.ids import match_event_id, sighting_event_id, sighting_id
from framematch.core.timestamps import from_rfc3339, to_rfc3339

GOLDEN = Path(__file__).parents[2] / "golden"
FRAME = Frame(
    camera="till-1",
    captured_at_us=1_767_225_600_123_456,
    sequence=42,
    regions=((10, 20, 300, 200),),
    traceparent="00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
    grabbed_at_us=1_767_225_600_200_000,
    clock="rtcp",
    replayed=True,
)
PRODUCT = ProductInfo(
    "arla-milk", "Arla Standard Milk", "Milk", Decimal("1.49"), "Whole milk, 1 l.", {"shelf": "B4"}, "EUR",
    (SkuInfo("7310865", "07310865004703", Decimal("1.490"), {"Size": "1 l"}),),
)  # fmt: skip
SIGHTING = SightingLink(
    id=sighting_id("till-1", "arla-milk", FRAME.id),
    started_at="2026-01-01T00:00:00.200000Z",
    frames=3,
    best=BestPicture(FRAME.id, 3, 1007, (10, 20, 300, 200), 0.875),
    product_id="arla-milk",
    votes={"arla-milk": 6.5, "oatly": 1.25},
    frames_used=2.75,
    runner_up="oatly",
)
ENDED = SightingEvent(
    schema="sighting.v1",
    id=sighting_event_id(SIGHTING.id, "ended", FRAME.id, SIGHTING_SCHEMA),
    sighting=SIGHTING.id,
    kind="ended",
    camera="till-1",
    product=PRODUCT,
    started_at=SIGHTING.started_at,
    last_seen_at="2026-01-01T00:00:02.200000Z",
    frames=SIGHTING.frames,
    best=SIGHTING.best,
    snapshot="20260101-000000-abcdef",
    reason="gap",
    votes=SIGHTING.votes,
    frames_used=SIGHTING.frames_used,
    runner_up=SIGHTING.runner_up,
)
STATUS = CameraStatus(
    schema="camera-status.v1",
    camera="till-1",
    state="degraded",
    reason="no frame for 6 s",
    at="2026-01-01T00:00:00.123456Z",
    source_fps=25.0,
    sent_fps=4.5,
    drops={"slot_full": 3},
    last_frame_age_s=6.25,
    reconnects=1,
    since="2026-01-01T00:00:00.000000Z",
    interval_s=10.0,
    captured_fps=5.0,
    still_fps=20.0,
    spooled_frames=12,
    spooled_bytes=480_000,
    lag_s=0.25,
    clock="rtcp",
    resolution=(1920, 1080),
    decoder="software",
    decoder_reason="vaapi: not in this build of FFmpeg",
    settings_error="edge.fps: input should be greater than 0",
    edge="shop-1",
    generation=6,
    refused=RefusedSettings(7, "fps: should be greater than 0", "See docs/settings.md"),
)
WANTED = WantedCamera(
    schema="camera-settings.v1",
    camera="till-1",
    generation=7,
    at="2026-01-01T00:00:00.123456Z",
    edge="shop-1",
    source=WantedSource("rtsp://***@10.0.0.5/…", sealed="gAAAAA=="),
    settings={"fps": 2.0, "masks": [{"polygon": [[0, 0], [0.5, 0], [0.5, 0.5]]}]},
)
LOGGED = LogEvent(
    schema="log.v1",
    id="0b6e7a36-6a50-4b0c-8f0f-5f2f0a3f8d11",
    at="2026-01-01T00:00:00.123456Z",
    service="edge",
    host="till",
    pid=7,
    level="warning",
    event="camera_failed",
    fields={"camera": "till-1", "reason": "rtsp://***@10.0.0.5/1: 401", "retry_in_s": 0.5},
)
FIRST_STATUS = CameraStatus(
    schema="camera-status.v1",
    camera="till-1",
    state="degraded",
    reason="no frame for 6 s",
    at="2026-01-01T00:00:00.123456Z",
    source_fps=25.0,
    sent_fps=4.5,
    drops={"slot_full": 3},
    last_frame_age_s=6.25,
    reconnects=1,
)


def match_event(decision: str = "match") -> MatchEvent:
    reference = frame_reference(FRAME, "framematch.frames", 3, 1007)
    return MatchEvent(
        schema="match.v1",
        id=match_event_id(reference.id, FRAME.regions[0], MATCH_SCHEMA),
        frame=reference,
        region=FRAME.regions[0],
        decision=decision,  # type: ignore[arg-type]  # the schema test tries a wrong one
        score=0.875,
        margin=0.125,
        threshold=0.75,
        product=PRODUCT if decision == "match" else None,
        candidates=(CandidateInfo("arla-milk", 0.875), CandidateInfo("oatly", 0.75)),
        snapshot="20260101-000000-abcdef",
        model=ModelInfo("demo", "00ff"),
        metadata_state="fresh",
        timings_ms={"decode": 1.5, "infer": 12.0, "age": 81.25},
        sighting=SIGHTING if decision == "match" else None,
        sketch="//8AAP//AAD//wAA//8AAP//AAD//wAA//8AAP//AAA=",
    )


def as_text(headers: list[tuple[str, bytes]]) -> dict[str, str]:
    return {name: value.decode() for name, value in headers}


def golden(name: str) -> object:
    return json.loads((GOLDEN / name).read_text())


def test_frame_headers_are_as_the_golden_file() -> None:
    assert as_text(frame_headers(FRAME)) == golden("frame-headers.v1.json")


def test_a_match_event_of_an_older_consumer_can_be_decoded() -> None:
    event = decode((GOLDEN / "match.v1-first.json").read_bytes(), MatchEvent)
    assert (event.frame.grabbed_at, event.frame.arrived_at) == (None, event.frame.captured_at)
    assert event.sighting is None
    jsonschema.validate(golden("match.v1-first.json"), json_schema("match.v1"))


def test_a_sighting_event_of_a_consumer_that_did_not_count_votes_can_be_decoded() -> None:
    event = decode((GOLDEN / "sighting.v1-first.json").read_bytes(), SightingEvent)
    product = replace(PRODUCT, currency=None, skus=())
    assert event == replace(ENDED, product=product, votes={}, frames_used=0.0, runner_up=None)
    jsonschema.validate(golden("sighting.v1-first.json"), json_schema("sighting.v1"))


def test_the_match_event_is_as_the_golden_file() -> None:
    assert json.loads(encode(match_event())) == golden("match.v1.json")


@pytest.mark.parametrize("reason", get_args(DecisionReason))
def test_an_event_with_each_reason_is_valid_by_the_schema(reason: DecisionReason) -> None:
    event = replace(match_event("unknown"), reason=reason)
    if reason == "no_content":
        event = replace(event, score=None, margin=None, candidates=())
    jsonschema.validate(json.loads(encode(event)), json_schema("match.v1"))
    assert decode(encode(event), MatchEvent) == event


def test_a_price_has_exactly_the_digits_of_the_catalogue() -> None:
    for price in ("12.90", "0.1234567890123456789", "0", "1E+3"):
        value = encode(replace(match_event(), product=ProductInfo("a", "A", price=Decimal(price))))
        assert f'"price":{price},'.encode() in value
        decoded = decode(value, MatchEvent).product
        assert decoded is not None
        assert str(decoded.price) == price


def test_match_headers_are_as_the_golden_file() -> None:
    headers = match_headers(match_event(), "2026-01-01T00:00:00.200000Z", FRAME.traceparent)
    assert as_text(headers) == golden("match-headers.v1.json")


def test_the_sighting_event_is_as_the_golden_file() -> None:
    assert json.loads(encode(ENDED)) == golden("sighting.v1.json")


def test_sighting_headers_are_as_the_golden_file() -> None:
    headers = sighting_headers(ENDED, "2026-01-01T00:00:05.400000Z")
    assert as_text(headers) == golden("sighting-headers.v1.json")


def test_the_camera_status_is_as_the_golden_file() -> None:
    assert json.loads(encode(STATUS)) == golden("camera-status.v1.json")


def test_a_wanted_camera_is_as_the_golden_file_and_decodes_to_its_original() -> None:
    assert json.loads(encode_wanted(WANTED)) == golden("camera-settings.v1.json")
    assert decode_wanted("till-1", (GOLDEN / "camera-settings.v1.json").read_bytes()) == WANTED


def test_the_log_event_and_its_headers_are_as_the_golden_files() -> None:
    assert json.loads(encode(LOGGED)) == golden("log.v1.json")
    assert as_text(log_headers(LOGGED)) == golden("log-headers.v1.json")


def test_golden_messages_decode_to_their_originals() -> None:
    assert decode((GOLDEN / "match.v1.json").read_bytes(), MatchEvent) == match_event()
    assert decode((GOLDEN / "sighting.v1.json").read_bytes(), SightingEvent) == ENDED
    assert decode((GOLDEN / "camera-status.v1.json").read_bytes(), CameraStatus) == STATUS
    assert decode((GOLDEN / "log.v1.json").read_bytes(), LogEvent) == LOGGED


def test_a_status_of_the_first_edges_still_decodes_and_is_valid_by_the_schema() -> None:
    assert decode((GOLDEN / "camera-status.v1-first.json").read_bytes(), CameraStatus) == FIRST_STATUS
    jsonschema.validate(golden("camera-status.v1-first.json"), json_schema("camera-status.v1"))


@pytest.mark.parametrize("name", ["match.v1", "sighting.v1", "camera-status.v1", "camera-settings.v1", "log.v1"])
def test_the_golden_file_is_valid_by_the_published_schema(name: str) -> None:
    schema = json_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(golden(f"{name}.json"), schema, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("name", ["match.v1", "sighting.v1", "log.v1"])
def test_the_example_in_a_published_schema_is_the_golden_file(name: str) -> None:
    assert json_schema(name)["examples"] == [golden(f"{name}.json")]


def test_an_event_without_a_product_is_valid_by_the_schema() -> None:
    jsonschema.validate(json.loads(encode(match_event("unknown"))), json_schema("match.v1"))


def test_the_schema_refuses_an_unknown_decision() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(encode(match_event("maybe"))), json_schema("match.v1"))


@pytest.mark.parametrize(("kind", "reason"), [("ended", None), ("started", "gap"), ("left", "gap")])
def test_the_schema_refuses_a_sighting_whose_kind_and_reason_contradict(kind: str, reason: str | None) -> None:
    event = {**json.loads(encode(ENDED)), "kind": kind, "reason": reason}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(event, json_schema("sighting.v1"))


def test_a_field_that_a_newer_version_adds_is_ignored() -> None:
    newer = golden("match.v1.json")
    assert isinstance(newer, dict)
    assert decode(json.dumps({**newer, "added": 1}).encode(), MatchEvent) == match_event()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("product.attributes.a", "[" * 100_000),
        ("product.attributes.a", "[" * 2_000 + "]" * 2_000),
        ("added", "[" * 100_000),
        ("product.name", '"\\ud800"'),
        ("product.name", '"\udcff"'),
        ("product.price", "1e400"),
        ("product.price", "NaN"),
        ("product", "null"),
        ("decision", '"unknown"'),
        ("frame.camera", '"two words"'),
        ("frame.captured_at", '"soon"'),
        ("frame.captured_at", '"2026-02-30T00:00:00Z"'),
        ("frame.grabbed_at", '"2026-01-01T00:00:00"'),
        ("frame.sequence", "-1"),
        ("sighting.started_at", '""'),
        ("sighting.frames", "0"),
    ],
)
def test_a_record_that_is_no_match_event_is_the_same_error_whatever_is_wrong(path: str, value: str) -> None:
    event: Any = golden("match.v1.json")
    *parents, field = path.split(".")
    functools.reduce(lambda part, name: part[name], parents, event)[field] = "HERE"
    text = json.dumps(event).replace('"HERE"', value)
    with pytest.raises(msgspec.DecodeError):
        decode(text.encode(errors="surrogateescape"), MatchEvent)


@pytest.mark.parametrize("change", [{"started_at": "soon"}, {"last_seen_at": ""}, {"frames": 0}, {"camera": "\n"}])
def test_a_record_that_is_no_sighting_is_an_error(change: dict[str, object]) -> None:
    event = golden("sighting.v1.json")
    assert isinstance(event, dict)
    with pytest.raises(msgspec.DecodeError):
        decode(json.dumps({**event, **change}).encode(), SightingEvent)


def test_ids_are_deterministic_and_differ_between_frames() -> None:
    assert Frame("till-1", 1, 2).id == Frame("till-1", 1, 2).id
    assert len({Frame(c, t, s).id for c in ("a", "b") for t in (1, 2) for s in (1, 2)}) == 8
    reference = frame_reference(FRAME, "t", 0, 0)
    moved = frame_reference(FRAME, "t", 5, 99)
    here, there = (match_event_id(one.id, (0, 0, 1, 1), MATCH_SCHEMA) for one in (reference, moved))
    assert here == there
    assert here != match_event_id(reference.id, (0, 0, 1, 2), MATCH_SCHEMA)


@given(
    st.builds(
        Frame,
        camera=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
        captured_at_us=st.integers(0, 4_000_000_000_000_000),
        sequence=st.integers(0, 9 * 10**15 - 1),
        regions=st.lists(
            st.tuples(st.integers(0, 9999), st.integers(0, 9999), st.integers(1, 9999), st.integers(1, 9999)),
            max_size=3,
        ).map(tuple),
    )
)
def test_a_frame_is_parsed_from_its_headers_unchanged(frame: Frame) -> None:
    assert parse_frame(frame.camera.encode(), frame_headers(frame)) == frame


@given(st.datetimes(timezones=st.just(UTC)))
@example(datetime(1, 1, 1, tzinfo=UTC))
@example(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
def test_a_time_of_any_year_is_parsed_from_its_text_unchanged(at: datetime) -> None:
    text = to_rfc3339(from_rfc3339(at.isoformat()))
    assert text == at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    assert datetime.fromisoformat(text) == at


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-01-31t12:00:00z", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31 12:00:00Z", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31T12:00:00+05:45", "2026-01-31T06:15:00.000000Z"),
        ("2026-01-31T12:00:00-00:00", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31T12:00:00.1Z", "2026-01-31T12:00:00.100000Z"),
        ("2026-01-31T12:00:00.1234569999999Z", "2026-01-31T12:00:00.123456Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"),
        ("2016-12-31T23:59:60.25Z", "2017-01-01T00:00:00.250000Z"),
        ("1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00.000000Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z"),
    ],
)
def test_every_form_of_an_rfc_3339_time_is_taken(text: str, same: str) -> None:
    assert to_rfc3339(from_rfc3339(text)) == same


@pytest.mark.parametrize(
    "text",
    [
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-06-15T12:00:60Z",
        "2026-06-15T23:59:60Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+01",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00Z+01:00",
        "2026-01-01T00:00:00Z\n",
        "2026-01-01",
        "20260101T000000Z",
        "2026-W01-1T00:00:00Z",
        "٢٠٢٦-01-01T00:00:00Z",
        "1767225600",
        "",
    ],
)
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|month|day|leap second"):
        from_rfc3339(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:60Z"])
def test_a_time_outside_the_years_1_to_9999_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="before year 1 or after year 9999"):
        from_rfc3339(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ce_time": None}, "the header ce_time is missing"),
        ({"ce_time": b"yesterday"}, "malformed"),
        ({"ce_time": b"2026-01-01T00:00:00"}, "not an RFC 3339 time with an offset"),
        ({"ce_type": b"other"}, "not 'framematch.frame.v1'"),
        ({"ce_time": b"9999-12-31T23:59:59-12:00"}, "malformed"),
        ({"ce_sequence": b"many"}, "not a number below"),
        ({"ce_sequence": b"-1"}, "not a number below"),
        ({"ce_sequence": b"9000000000000000"}, "not a number below"),
        ({"ce_sequence": b"1" * 17}, "not a number below"),
        ({"ce_sequence": b"7\n"}, "not a number below"),
        ({"ce_sequence": "٣".encode()}, "not a number below"),
        ({"ce_regions": b"[" * 100_000}, "malformed"),
        ({"ce_regions": b"[[NaN,0,1,1]]"}, "malformed"),
        ({"ce_regions": b"[[1e3,0,1,1]]"}, "malformed"),
        ({"ce_regions": b"[[true,0,1,1]]"}, "malformed"),
        ({"ce_regions": b"[[0,0,1," + b"9" * 5_000 + b"]]"}, "malformed"),
        ({"ce_regions": b"[[1,2,3]]"}, "malformed"),
        ({"ce_regions": b"[[1,2,0,4]]"}, "without area"),
        ({"ce_regions": b"\xff\xfe"}, "malformed"),
    ],
)
def test_invalid_headers_are_a_bad_frame(change: dict[str, bytes | None], message: str) -> None:
    headers = {**dict(frame_headers(FRAME)), **change}
    with pytest.raises(BadFrameError, match=message) as raised:
        parse_frame(b"till-1", [(name, value) for name, value in headers.items() if value is not None])
    assert raised.value.reason == "headers"


@pytest.mark.parametrize("key", [None, b"", b"two words", b"\xff", b"x" * 65])
def test_a_key_that_is_no_camera_id_is_a_bad_frame(key: bytes | None) -> None:
    with pytest.raises(BadFrameError):
        parse_frame(key, frame_headers(FRAME))


@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=50)), max_size=10), st.binary(max_size=20))
def test_arbitrary_headers_never_raise_anything_else(headers: list[tuple[str, bytes]], key: bytes) -> None:
    with pytest.raises(BadFrameError):
        parse_frame(key, headers)


@pytest.mark.parametrize("value", [b"garbage", b"\xff\xfe", b"", None])
def test_an_invalid_traceparent_is_left_out(value: bytes | None) -> None:
    headers = {**dict(frame_headers(FRAME)), "traceparent": value}
    assert parse_frame(b"till-1", headers.items()).traceparent is None


@pytest.mark.parametrize("value", [b"\xff\xfe", b"", None])
def test_headers_of_other_programs_are_ignored(value: bytes | None) -> None:
    assert parse_frame(b"till-1", [("x-other", value), *frame_headers(FRAME), ("x-other", value)]) == FRAME


def test_a_header_without_a_value_is_a_bad_frame() -> None:
    with pytest.raises(BadFrameError, match="malformed"):
        parse_frame(b"till-1", [*frame_headers(FRAME), ("ce_time", None)])
