"""Any record becomes a frame that leads to a valid event, or is rejected with a documented reason."""

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from PIL import Image

from consumers.in_flight_frame import Decided, InFlightFrame, Rejected, Skipped
from consumers.stages.batcher import region_crops
from consumers.stages.prepare import AgeLimits, Preparer
from framematch.core.events import MATCH_SCHEMA, encode, frame_reference, json_schema
from framematch.core.frames import Frame, Region, frame_headers
from framematch.core.ids import match_event_id
from framematch.core.settings import AgeSettings, ConsumerSettings, MatchingSettings, SightingSettings
from framematch.core.timestamps import now_us
from framematch.matching.gate import PictureGate
from framematch.matching.sightings import SightingTracker
from framematch.vision.manifest import PreprocessSpec
from framematch.vision.preprocess import Preprocessor, Variant
from tests.sample_events import match_event
from tests.unit.consumers.sample_frames import UNKNOWN, make_served, record

ROOT = Path(__file__).parents[3]
MAX_PIXELS, MAX_REGIONS = 200_000, 16
GATE = PictureGate(MatchingSettings().min_content, 0)
FRAME = Frame("till-1", 1_767_225_600_123_456, 42, regions=((1, 2, 30, 20),), grabbed_at_us=1_767_225_600_200_000)
Prepare = Callable[[InFlightFrame], None]
Headers = list[tuple[str, bytes | None]]
SOF, SOS = b"\xff\xc0", b"\xff\xda"
MATCH, SIGHTING = (Draft202012Validator(json_schema(name)) for name in ("match.v1", "sighting.v1"))


def jpeg(width: int = 64, height: int = 48, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture = Image.radial_gradient("L").resize((width, height)).convert("RGB").convert(mode)
    picture.save(buffer, options.pop("kind", "JPEG"), **options)
    return buffer.getvalue()


@cache
def photos() -> tuple[bytes, ...]:
    """Real JPEGs, of cameras and of a shop."""
    paths = sorted((ROOT / "demo" / "data").rglob("*.jpg"))
    return tuple(data for data in (path.read_bytes() for path in paths[::60]) if len(data) < 100_000)


@cache
def documented_reasons() -> frozenset[str]:
    """The reasons for dead letters in docs/operations.md."""
    line = next(
        line
        for line in (ROOT / "docs" / "operations.md").read_text().splitlines()
        if line.startswith("| `framematch_consumer_frames_total`")
    )
    reasons = re.search(r"`deadletter` with (.*?);", line)
    assert reasons
    return frozenset(re.findall(r"`(\w+)`", reasons[1]))


def preparer(
    edge: int | None = 32, variant: Variant = "fast", ages: AgeLimits | None = None, gate: PictureGate = GATE
) -> Prepare:
    """Prepares frames for a model with this preprocessing."""
    spec = PreprocessSpec(edge, 32, 32, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    limits = ages or AgeLimits(AgeSettings(), {})
    own = Preparer(limits, max_pixels=MAX_PIXELS, max_regions=MAX_REGIONS, gate=gate)
    served = make_served(preprocessor=Preprocessor(spec, variant))
    return lambda frame: own.prepare(frame, served)


PREPARERS = [preparer(edge, variant) for edge in (32, None) for variant in ("fast", "exact")]


def prepared(
    value: bytes | None, headers: Headers | None = None, key: bytes | None = b"till-1", by: Prepare = PREPARERS[0]
) -> InFlightFrame:
    own: Headers = [*frame_headers(FRAME)] if headers is None else headers
    frame = InFlightFrame(record(7, key=key, value=value, headers=own), "till-1", 0)
    by(frame)
    return frame


def of_regions(*regions: Region) -> Headers:
    return [*frame_headers(Frame("till-1", 1, 1, regions=regions))]


def reason(frame: InFlightFrame) -> str:
    assert isinstance(frame.outcome, Rejected)
    return frame.outcome.error.reason


def accepted(frame: InFlightFrame) -> bool:
    """Whether it was not rejected; then its events match their schemas, else the reason is documented."""
    if isinstance(frame.outcome, Rejected):
        assert frame.outcome.error.reason in documented_reasons()
        return False
    assert frame.header
    assert len(frame.crops) == len(frame.regions) > 0
    assert {crop.shape for crop in frame.crops} == {(32, 32, 3)}
    reference = frame_reference(frame.header, "framematch.frames", 0, 7)
    ids = [match_event_id(reference.id, region, MATCH_SCHEMA) for region in frame.regions]
    made = [
        replace(match_event(), id=one, frame=reference, region=box) for one, box in zip(ids, frame.regions, strict=True)
    ]
    seen = SightingTracker(SightingSettings(start_frames=1)).observe(made)
    for event in seen.events:
        MATCH.validate(json.loads(encode(event)))
    for sighting in seen.sightings:
        SIGHTING.validate(json.loads(encode(sighting)))
    return True


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


ZONES = [timezone(timedelta(hours=hours)) for hours in (-12, 0, 14)]
NUMBERS = st.sampled_from([0, 1, -1, 2**31, 2**63, 2**64, 10**30]) | st.integers()
VALUES: Mapping[str, st.SearchStrategy[bytes]] = {
    "ce_time": st.datetimes(timezones=st.sampled_from(ZONES)).map(lambda at: at.isoformat().encode())
    | st.sampled_from([b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-12:00", b"2026-01-01", b"NaN"]),
    "ce_sequence": NUMBERS.map(lambda number: str(number).encode()) | st.sampled_from([b"007", b"1e3", b" 1", b"+1"]),
    "ce_regions": st.one_of(
        st.lists(st.lists(NUMBERS, min_size=4, max_size=4), max_size=3).map(as_json),
        st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(as_json),
        st.sampled_from(
            [b"[" * 10_000, b"[[0,0,1,1]," * 2_000 + b"[0,0,1,1]]", b"{}", b"[[0,0,1," + b"9" * 5_000 + b"]]"]
        ),
    ),
}
VALUES = {**VALUES, "ce_grabtime": VALUES["ce_time"]}
NOISE = st.none() | st.binary(max_size=20) | st.integers(0, 2_000_000).map(bytes)
NAMES = st.sampled_from([name for name, _ in frame_headers(FRAME)]) | st.text(max_size=9)
CHANGES = st.one_of(*(st.tuples(st.just(name), values) for name, values in VALUES.items()), st.tuples(NAMES, NOISE))
KEYS = st.just(b"till-1") | st.none() | st.binary(max_size=70) | st.text(max_size=64).map(str.encode)


@settings(max_examples=70, deadline=None)
@given(st.lists(CHANGES, max_size=4), st.booleans(), KEYS)
def test_any_headers_give_a_valid_event_or_a_dead_letter(changes: Headers, last: bool, key: bytes | None) -> None:
    own: Headers = [*frame_headers(FRAME)]
    accepted(prepared(jpeg(), own + changes if last else changes + own, key))


def test_a_frame_as_the_edge_sends_it_is_good() -> None:
    frame = prepared(jpeg())
    assert accepted(frame)
    assert (frame.header, frame.regions) == (FRAME, FRAME.regions)


BOXES = st.tuples(
    *[st.sampled_from([0, 1, 47, 63, 64, 10**20]) | st.integers(0, 70)] * 2,
    *[st.sampled_from([1, 2, 48, 64, 10**20])] * 2,
)
KINDS = {
    "rgb": jpeg(),
    "grey": jpeg(mode="L"),
    "cmyk": jpeg(mode="CMYK"),
    "progressive": jpeg(progressive=True),
    "progressive grey": jpeg(mode="L", progressive=True),
    "without subsampling": jpeg(subsampling=0),
    "restarts": jpeg(restart_marker_rows=1),
    "one pixel": jpeg(1, 1),
    "a row": jpeg(65_500, 1),
    "a column": jpeg(1, 65_500),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", PREPARERS)
def test_every_kind_of_jpeg_is_taken_whole(kind: str, by: Prepare) -> None:
    assert accepted(prepared(KINDS[kind], of_regions(), by=by))


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.lists(BOXES, max_size=4), st.sampled_from(PREPARERS))
def test_any_boxes_of_any_jpeg_are_cut_or_refused(kind: str, boxes: list[Region], by: Prepare) -> None:
    accepted(prepared(KINDS[kind], of_regions(*boxes), by=by))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of damaged metadata, and continues
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_damaged_photograph_is_a_picture_or_a_dead_letter(data: st.DataObject) -> None:
    found = bytearray(data.draw(st.sampled_from([*KINDS.values(), *photos()])))
    where = st.integers(0, len(found) - 1) | st.integers(0, min(len(found), 700) - 1)
    for at in data.draw(st.lists(where, max_size=8)):
        found[at] = data.draw(st.sampled_from([0x00, 0xFF, 0xD8, 0xD9, 0xDA, 0xC0, 0xC2, 0xC4]) | st.integers(0, 255))
    end = data.draw(st.none() | where)
    accepted(prepared(bytes(found[:end]) + b"\xff\xd9", of_regions()))


@given(st.integers(0, 10_000))
def test_a_truncated_photograph_is_a_dead_letter(cut: int) -> None:
    photo = photos()[cut % len(photos())]
    assume(0 < cut < len(photo))
    assert reason(prepared(photo[:-cut], of_regions())) in {"truncated", "not_a_jpeg"}


def patched(marker: bytes, offset: int, new: bytes, data: bytes | None = None) -> bytes:
    """A JPEG with other bytes at this offset behind the first such marker."""
    changed = bytearray(jpeg() if data is None else data)
    at = changed.index(marker) + offset
    changed[at : at + len(new)] = new
    return bytes(changed)


def full_of_scans() -> bytes:
    """A small progressive JPEG with one scan repeated very often."""
    data = jpeg(progressive=True)
    first = data.index(SOS)
    second = data.index(SOS, first + 1)
    return data[:second] + data[first:second] * 10_000 + data[second:]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "not_a_jpeg"),
        (b"", "not_a_jpeg"),
        (jpeg(kind="PNG"), "not_a_jpeg"),
        (jpeg(kind="GIF"), "not_a_jpeg"),
        (jpeg(kind="WEBP"), "not_a_jpeg"),
        (jpeg(kind="TIFF"), "not_a_jpeg"),
        (patched(SOF, 5, b"\xff\xff\xff\xff"), "too_many_pixels"),
        (patched(SOF, 5, b"\x00\x00"), "not_a_jpeg"),
        (patched(SOF, 4, b"\x0c"), "not_a_jpeg"),  # 12 bits
        (patched(SOF, 4, b"\x10"), "not_a_jpeg"),  # 16 bits
        (patched(SOF, 0, b"\xff\xc3"), "undecodable"),  # says lossless, and is not
        (jpeg()[:-2] + bytes(100), "truncated"),
        (full_of_scans(), "undecodable"),
    ],
)
def test_an_unusable_picture_is_rejected_with_its_reason(value: bytes | None, expected: str) -> None:
    frame = prepared(value, of_regions())
    assert (reason(frame), accepted(frame)) == (expected, False)


def test_a_jpeg_in_arithmetic_code_is_a_picture_or_undecodable() -> None:
    frame = prepared(patched(SOF, 0, b"\xff\xc9"), of_regions())
    assert accepted(frame) or reason(frame) == "undecodable"


def test_a_frame_of_too_many_regions_is_refused_before_its_picture_is_read() -> None:
    assert reason(prepared(b"no picture", of_regions(*[(0, 0, 1, 1)] * (MAX_REGIONS + 1)))) == "too_many_regions"


def test_the_reasons_of_dead_letters_are_documented() -> None:
    assert documented_reasons() == {
        "headers", "not_a_jpeg", "too_many_pixels", "truncated", "undecodable", "region", "too_many_regions",
        "invalid_embedding",
    }  # fmt: skip


OWN = {"fast": AgeSettings(max_age_s=1), "patient": AgeSettings(max_replay_age_s=1_000)}
AGES = AgeLimits.of(ConsumerSettings(max_age_s=10, max_replay_age_s=100, cameras=OWN))


@pytest.mark.parametrize(
    ("camera", "replayed", "age_s", "expected"),
    [
        ("till-1", False, 10, None),
        ("till-1", False, 10.1, "age"),
        ("till-1", True, 100, None),
        ("till-1", True, 100.1, "replay"),
        ("fast", False, 1.1, "age"),
        ("fast", True, 100, None),
        ("fast", True, 100.1, "replay"),
        ("patient", False, 10.1, "age"),
        ("patient", True, 1_000, None),
        ("patient", True, 1_000.1, "replay"),
        ("till-1", False, -3_600, None),
    ],
)
def test_a_frame_is_skipped_by_the_limit_of_its_camera_and_kind(
    camera: str, replayed: bool, age_s: float, expected: str | None
) -> None:
    frame = Frame(camera, 0, 1, grabbed_at_us=1_000_000_000_000, replayed=replayed)
    assert AGES.reason_to_skip(frame, 1_000_000_000_000 + round(age_s * 1_000_000)) == expected


@given(st.booleans(), st.integers(0, 2**60))
def test_without_limits_no_frame_is_too_old(replayed: bool, at_us: int) -> None:
    assert AgeLimits.of(ConsumerSettings()).reason_to_skip(Frame("c", 0, 1, replayed=replayed), at_us) is None


def test_a_frame_that_is_too_old_is_skipped_whatever_its_bytes_are() -> None:
    frame = Frame("till-1", now_us() - 20_000_000, 1)
    skipped = prepared(b"no picture", [*frame_headers(frame)], by=preparer(ages=AGES))
    assert skipped.outcome == Skipped("age")


def of_picture(*colours: int, side: int = 64) -> Image.Image:
    """Fields of these shades of grey beside each other, each a square with a pattern unless it is black."""
    picture = Image.new("RGB", (side * len(colours), side))
    for number, colour in enumerate(colours):
        if colour:
            picture.paste(Image.radial_gradient("L").resize((side // 2, side // 2)), (side * number, 0))
    return picture


def jpeg_of(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def reasons(frame: InFlightFrame) -> list[str | None]:
    assert isinstance(frame.outcome, Decided)
    return [decision.reason for decision in frame.outcome.decisions]


@pytest.mark.parametrize("colour", ["black", "white", "gray", "lemonchiffon", "navy"])
@pytest.mark.parametrize("by", PREPARERS)
def test_a_frame_that_shows_nothing_is_unknown_without_the_model(colour: str, by: Prepare) -> None:
    frame = prepared(jpeg_of(Image.new("RGB", (64, 48), colour)), of_regions(), by=by)
    assert reasons(frame) == ["no_content"]
    assert region_crops(frame) == []


def test_only_the_regions_that_show_something_go_to_the_model() -> None:
    boxes: list[Region] = [(64 * number, 0, 64, 64) for number in range(3)]
    frame = prepared(jpeg_of(of_picture(0, 1, 0)), of_regions(*boxes))
    assert [region.number for region in region_crops(frame)] == [1]
    assert not frame.complete
    frame.decide(1, UNKNOWN)
    assert reasons(frame) == ["no_content", UNKNOWN.reason, "no_content"]


def test_with_min_content_0_every_region_goes_to_the_model() -> None:
    frame = prepared(jpeg_of(Image.new("RGB", (64, 48))), of_regions(), by=preparer(gate=PictureGate(0, 0)))
    assert [region.number for region in region_crops(frame)] == [0]


def test_no_photograph_of_a_product_is_decided_without_the_model() -> None:
    by = preparer(gate=PictureGate.of(MatchingSettings()))
    for photo in photos():
        frame = prepared(photo, of_regions(), by=by)
        assert isinstance(frame.outcome, Rejected) or len(region_crops(frame)) == 1


def test_each_decision_has_the_quality_of_its_own_region() -> None:
    boxes: list[Region] = [(0, 0, 64, 64), (8, 8, 4, 4), (8, 8, 40, 40)]
    frame = prepared(jpeg_of(of_picture(1)), of_regions(*boxes), by=preparer(gate=PictureGate(0, 0.1)))
    assert [region.number for region in region_crops(frame)] == [0, 2]
    for region in region_crops(frame):
        frame.decide(region.number, UNKNOWN)
    assert isinstance(frame.outcome, Decided)
    assert reasons(frame) == [UNKNOWN.reason, "quality", UNKNOWN.reason]
    first, small, third = (decision.quality for decision in frame.outcome.decisions)
    assert (first is not None, small, third) == (True, 0.05, 0.5)
