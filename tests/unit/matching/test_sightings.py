"""Sightings: when a product appears, stays and leaves."""

import gc
import json
from collections.abc import Callable

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from framematch.core.events import SightingEvent, encode, json_schema
from framematch.core.settings import SightingSettings
from framematch.matching.sightings import SightingTracker
from framematch.matching.track import Track
from tests.unit.matching.fake_frames import SETTINGS, Clock, changes, frame_events, seconds

SCHEMA = jsonschema.Draft202012Validator(json_schema("sighting.v1"), format_checker=jsonschema.FormatChecker())


class RecordedTracker:
    """A tracker whose sighting events are recorded and checked against the published schema."""

    def __init__(self, settings: SightingSettings = SETTINGS, clock: Callable[[], float] | None = None) -> None:
        self._tracker = SightingTracker(settings, clock=clock or Clock())
        self.sightings: list[SightingEvent] = []

    def frame(
        self, at_s: float, *shown: str, number: int | None = None, offset: int = 0, partition: int = 0
    ) -> list[SightingEvent]:
        events = frame_events(at_s, *shown, number=number, offset=offset, partition=partition)
        return self._recorded(list(self._tracker.observe(events).sightings))

    def end_silent(self, *caught_up: int) -> list[SightingEvent]:
        return self._recorded(self._tracker.end_silent(caught_up))

    @property
    def open_sightings(self) -> int:
        return self._tracker.open_sightings

    def _recorded(self, new: list[SightingEvent]) -> list[SightingEvent]:
        for event in new:
            SCHEMA.validate(json.loads(encode(event)))
        self.sightings += new
        return new


def test_a_product_is_a_sighting_once_start_frames_show_it() -> None:
    tracker = RecordedTracker()
    assert tracker.frame(0.0, "milk") == []
    [started] = tracker.frame(0.2, "milk")
    assert (started.kind, started.product.name, started.camera) == ("started", "Milk", "till-1")
    assert (seconds(started.started_at), seconds(started.last_seen_at), started.frames) == (0.0, 0.2, 2)


def test_one_match_alone_starts_no_sighting() -> None:
    tracker = RecordedTracker()
    for at_s in (0.0, 3.0, 6.0, 9.0):
        tracker.frame(at_s, "milk")
    assert tracker.sightings == []


def test_a_sighting_ends_when_its_product_is_not_seen_for_the_gap() -> None:
    tracker = RecordedTracker()
    for at_s in (0.0, 1.0):
        tracker.frame(at_s, "milk")
    assert tracker.frame(3.9) == []
    [ended] = tracker.frame(4.0)
    assert (ended.kind, ended.reason, seconds(ended.last_seen_at)) == ("ended", "gap", 1.0)
    assert tracker.open_sightings == 0


def test_a_product_that_returns_after_the_gap_is_another_sighting() -> None:
    tracker = RecordedTracker()
    for at_s in (0.0, 1.0, 4.0, 5.0):
        tracker.frame(at_s, "milk")
    assert changes(tracker.sightings) == [("started", "milk"), ("ended", "milk"), ("started", "milk")]
    assert tracker.sightings[1].sighting != tracker.sightings[2].sighting


def test_an_ambiguous_decision_keeps_a_sighting_open() -> None:
    tracker = RecordedTracker()
    for at_s, shown in ((0.0, "milk"), (1.0, "milk"), (3.0, "milk?"), (5.5, "milk?"), (8.0, "")):
        tracker.frame(at_s, shown)
    assert changes(tracker.sightings) == [("started", "milk")]
    [ended] = tracker.frame(8.5)
    assert (ended.frames, seconds(ended.last_seen_at)) == (2, 5.5)


def test_ambiguous_decisions_neither_start_nor_continue_an_unconfirmed_track() -> None:
    tracker = RecordedTracker()
    for at_s, shown in ((0.0, "milk?"), (0.2, "milk?"), (0.4, "milk"), (2.0, "milk?"), (3.5, "milk")):
        tracker.frame(at_s, shown)
    assert tracker.sightings == []


def test_an_ambiguous_decision_for_another_product_keeps_nothing_open() -> None:
    tracker = RecordedTracker()
    for at_s, shown in ((0.0, "milk"), (1.0, "milk"), (3.0, "oats?"), (4.0, "oats?")):
        tracker.frame(at_s, shown)
    assert changes(tracker.sightings) == [("started", "milk"), ("ended", "milk")]


def test_a_product_that_stays_is_updated_once_a_period() -> None:
    tracker = RecordedTracker()
    for at_s in range(35):
        tracker.frame(float(at_s), "milk")
    updates = [seconds(event.last_seen_at) for event in tracker.sightings if event.kind == "updated"]
    assert updates == [10.0, 20.0, 30.0]


def test_the_best_picture_is_the_first_with_the_highest_score() -> None:
    tracker = RecordedTracker()
    tracker.frame(0.0, "milk 0.8", offset=4)
    tracker.frame(1.0, "milk 0.9", offset=5)
    tracker.frame(2.0, "milk 0.9", offset=6)
    [ended] = tracker.frame(9.0)
    [best] = frame_events(1.0, "milk 0.9", offset=5)
    assert (ended.best.frame_id, ended.best.offset, ended.best.score) == (best.frame.id, 5, 0.9)


def test_several_regions_with_one_product_count_as_one_frame_with_the_best_of_them() -> None:
    tracker = RecordedTracker()
    assert tracker.frame(0.0, "milk 0.8", "milk 0.9", "milk?") == []
    [started] = tracker.frame(0.2, "milk 0.85", "milk?")
    assert (started.frames, started.best.score, started.best.region) == (2, 0.9, (10, 0, 10, 10))


def test_each_product_in_a_frame_has_its_own_sighting() -> None:
    tracker = RecordedTracker()
    tracker.frame(0.0, "milk", "oats")
    assert changes(tracker.frame(0.2, "milk", "oats", "")) == [("started", "milk"), ("started", "oats")]


def test_each_camera_has_its_own_sightings() -> None:
    tracker = SightingTracker(SETTINGS)
    for camera in ("till-1", "till-2"):
        assert tracker.observe(frame_events(0.0, "milk", camera=camera)).sightings == ()
    ids = {tracker.observe(frame_events(0.2, "milk", camera=c)).sightings[0].sighting for c in ("till-1", "till-2")}
    assert len(ids) == 2


def test_match_events_link_their_sighting() -> None:
    tracker = SightingTracker(SETTINGS)
    first = tracker.observe(frame_events(0.0, "milk"))
    second = tracker.observe(frame_events(0.2, "milk", "milk?", "oats", ""))
    third = tracker.observe(frame_events(0.4, "milk?"))
    assert first.events[0].sighting is None
    links = [event.sighting for event in second.events]
    assert links[0] is not None
    assert links == [links[0], links[0], None, None]
    assert (links[0].id, links[0].frames) == (second.sightings[0].sighting, 2)
    assert third.events[0].sighting is not None
    assert (third.events[0].sighting.id, third.events[0].sighting.frames) == (links[0].id, 2)


def test_a_repeated_frame_is_counted_once() -> None:
    tracker = RecordedTracker()
    tracker.frame(0.0, "milk", offset=3)
    assert tracker.frame(0.0, "milk", offset=9) == []
    tracker.frame(0.2, "milk")
    tracker.frame(0.4, "milk")
    tracker.frame(0.2, "milk")
    [ended] = tracker.frame(9.0)
    assert (ended.frames, seconds(ended.last_seen_at)) == (3, 0.4)


def test_frames_of_equal_times_end_nothing() -> None:
    tracker = RecordedTracker()
    for number in range(100):
        tracker.frame(0.0, "milk" if number < 2 else "", number=number)
    assert changes(tracker.sightings) == [("started", "milk")]


def test_a_clock_set_back_by_less_than_the_gap_gives_no_negative_duration() -> None:
    tracker = RecordedTracker()
    for at_s in (0.0, 0.2, -2.0):
        tracker.frame(at_s, "milk")
    [ended] = tracker.frame(9.0)
    assert seconds(ended.started_at) == seconds(ended.last_seen_at) == 0.0


def test_a_clock_set_back_by_more_than_the_gap_ends_open_sightings() -> None:
    tracker = RecordedTracker()
    for at_s in (0.0, 0.2, -3_600.0, -3_599.8):
        tracker.frame(at_s, "milk")
    assert changes(tracker.sightings) == [("started", "milk"), ("ended", "milk"), ("started", "milk")]


def test_silence_of_a_camera_ends_its_sightings_once() -> None:
    clock = Clock()
    tracker = RecordedTracker(clock=clock)
    for at_s in (0.0, 0.2):
        tracker.frame(at_s, "milk", "oats", partition=5)
    clock.now_s += 9.9
    assert tracker.end_silent(5) == []
    clock.now_s += 0.1
    assert [(event.kind, event.reason) for event in tracker.end_silent(5)] == [("ended", "silent")] * 2
    assert tracker.end_silent(5) == []


def test_a_camera_that_sends_frames_is_not_silent_whatever_they_show() -> None:
    clock = Clock()
    tracker = RecordedTracker(clock=clock)
    for number in range(30):
        clock.now_s += 9.0
        tracker.frame(0.1 * number, "milk" if number < 2 else "")
        tracker.end_silent(0)
    assert changes(tracker.sightings) == [("started", "milk")]


def test_a_camera_that_moved_to_another_partition_is_silent_there() -> None:
    clock = Clock()
    tracker = RecordedTracker(clock=clock)
    for at_s, partition in ((0.0, 5), (0.2, 6)):
        tracker.frame(at_s, "milk", partition=partition)
    clock.now_s += 10.0
    assert tracker.end_silent(5) == []
    assert changes(tracker.end_silent(6)) == [("ended", "milk")]


def test_a_camera_in_a_partition_with_waiting_frames_is_not_silent() -> None:
    clock = Clock()
    tracker = RecordedTracker(clock=clock)
    for at_s in (0.0, 0.2):
        tracker.frame(at_s, "milk", partition=5)
    clock.now_s += 100.0
    assert tracker.end_silent(4, 6) == []
    assert changes(tracker.end_silent(4, 5)) == [("ended", "milk")]


def test_an_end_by_silence_is_not_published_again_after_a_restart() -> None:
    clock = Clock()
    tracker, successor = SightingTracker(SETTINGS, clock=clock), SightingTracker(SETTINGS, clock=clock)
    for at_s in (0.0, 0.2):
        successor.restore(tracker.observe(frame_events(at_s, "milk")).events)
    clock.now_s += 10.0
    [ended] = tracker.end_silent([0])
    successor.restore_silence_end(ended)
    assert successor.end_silent([0]) == []


def test_a_restored_end_by_silence_does_not_end_a_product_that_was_seen_since() -> None:
    clock = Clock()
    tracker, successor = SightingTracker(SETTINGS, clock=clock), SightingTracker(SETTINGS, clock=clock)
    seen = [tracker.observe(frame_events(at_s, "milk")).events for at_s in (0.0, 0.2)]
    clock.now_s += 10.0
    [ended] = tracker.end_silent([0])
    for events in seen:
        successor.restore(events)
    successor.observe(frame_events(0.4, "milk"))
    successor.restore_silence_end(ended)
    assert successor.open_sightings == 1


def remembered_products() -> set[str]:
    return {track.product.id for track in gc.get_objects() if isinstance(track, Track)}


def test_tracks_of_products_that_have_left_are_forgotten() -> None:
    tracker = RecordedTracker()
    for number in range(100):
        tracker.frame(10.0 * number, f"passing-{number}")
    assert {product for product in remembered_products() if "passing" in product} == {"passing-99"}


def test_tracks_of_a_silent_camera_are_forgotten() -> None:
    clock = Clock()
    tracker = RecordedTracker(clock=clock)
    tracker.frame(0.0, "seen-once")
    assert "seen-once" in remembered_products()
    clock.now_s += 10.0
    assert tracker.end_silent(0) == []
    assert "seen-once" not in remembered_products()


def test_there_are_no_sightings_when_they_are_disabled() -> None:
    tracker = SightingTracker(SightingSettings(enabled=False))
    for at_s in (0.0, 0.2, 0.4):
        events = frame_events(at_s, "milk")
        assert tracker.observe(events).events == tuple(events)
    assert tracker.open_sightings == 0


@pytest.mark.parametrize("start_frames", [1, 3])
def test_start_frames_sets_how_many_matches_start_a_sighting(start_frames: int) -> None:
    tracker = RecordedTracker(SightingSettings(start_frames=start_frames))
    starts = [bool(tracker.frame(0.2 * number, "milk")) for number in range(4)]
    assert starts == [number == start_frames - 1 for number in range(4)]


def test_silent_s_below_gap_s_is_refused() -> None:
    with pytest.raises(ValidationError, match="silent_s is less than gap_s"):
        SightingSettings(gap_s=12.0)


FRAMES = st.lists(
    st.tuples(
        st.sampled_from([0, 2, 10, 29, 30, 31, 110]),  # tenths of a second since the frame before
        st.sets(st.sampled_from(["milk", "oats"])),
    ),
    max_size=30,
)


@given(FRAMES, st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_sightings_are_the_runs_of_matches_without_a_gap(frames: list[tuple[int, set[str]]], start_frames: int) -> None:
    tracker = RecordedTracker(SightingSettings(start_frames=start_frames, gap_s=3.0, update_s=10.0))
    runs: dict[str, list[list[int]]] = {"milk": [[]], "oats": [[]]}
    tenths = 0
    for number, (later, shown) in enumerate(frames):
        tenths += later
        tracker.frame(tenths / 10, *sorted(shown), number=number)
        for product in shown:
            run = runs[product][-1]
            if run and tenths - run[-1] >= 30:
                runs[product].append([tenths])
            else:
                run.append(tenths)
    tracker.frame(tenths / 10 + 3.0, number=len(frames))
    expected = {
        (product, run[0] / 10, run[-1] / 10, len(run))
        for product, product_runs in runs.items()
        for run in product_runs
        if len(run) >= start_frames
    }
    ended = [event for event in tracker.sightings if event.kind == "ended"]
    assert {(e.product.id, seconds(e.started_at), seconds(e.last_seen_at), e.frames) for e in ended} == expected
    assert len(ended) == len(expected)


@given(FRAMES)
@settings(max_examples=50, deadline=None)
def test_a_sighting_is_started_once_then_updated_then_ended_once(frames: list[tuple[int, set[str]]]) -> None:
    tracker = RecordedTracker()
    tenths = 0
    for number, (later, shown) in enumerate(frames):
        tenths += later
        tracker.frame(tenths / 10, *sorted(shown), number=number)
    tracker.frame(tenths / 10 + 3.0, number=len(frames))
    for sighting in {event.sighting for event in tracker.sightings}:
        events = [event for event in tracker.sightings if event.sighting == sighting]
        kinds = [event.kind for event in events]
        assert kinds == ["started", *["updated"] * (len(kinds) - 2), "ended"]
        assert [event.frames for event in events] == sorted(event.frames for event in events)
    assert len({event.id for event in tracker.sightings}) == len(tracker.sightings)


@given(st.lists(st.tuples(st.floats(0.01, 0.9), st.booleans()), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_an_interruption_shorter_than_the_gap_never_ends_a_sighting(steps: list[tuple[float, bool]]) -> None:
    tracker = RecordedTracker()
    tracker.frame(0.0, "milk")
    tracker.frame(0.1, "milk")
    at_s = seen_s = 0.1
    for later_s, dark in steps:
        at_s += later_s
        if dark and at_s - seen_s < 2.0:  # with the next step it stays below three
            tracker.frame(at_s)
        else:
            tracker.frame(at_s, "milk")
            seen_s = at_s
    assert {event.kind for event in tracker.sightings} <= {"started", "updated"}
    assert len({event.sighting for event in tracker.sightings}) == 1
