"""Sightings: when a product comes, stays and leaves."""

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
from tests.unit.matching.made_up_frames import SETTINGS, Clock, frame_events, seconds, told

SCHEMA = jsonschema.Draft202012Validator(json_schema("sighting.v1"), format_checker=jsonschema.FormatChecker())


class Watched:
    """A tracker whose every word is kept, and held against the published schema."""

    def __init__(self, settings: SightingSettings = SETTINGS, clock: Callable[[], float] | None = None) -> None:
        self.tracker = SightingTracker(settings, clock=clock or Clock())
        self.sightings: list[SightingEvent] = []

    def frame(
        self, at_s: float, *shown: str, number: int | None = None, offset: int = 0, partition: int = 0
    ) -> list[SightingEvent]:
        events = frame_events(at_s, *shown, number=number, offset=offset, partition=partition)
        return self._kept(list(self.tracker.observe(events).sightings))

    def silent(self, *caught_up: int) -> list[SightingEvent]:
        return self._kept(self.tracker.silent(caught_up))

    def _kept(self, new: list[SightingEvent]) -> list[SightingEvent]:
        for event in new:
            SCHEMA.validate(json.loads(encode(event)))
        self.sightings += new
        return new


def test_a_product_is_a_sighting_once_so_many_frames_show_it() -> None:
    watched = Watched()
    assert watched.frame(0.0, "milk") == []
    [started] = watched.frame(0.2, "milk")
    assert (started.kind, started.product.name, started.camera) == ("started", "Milk", "till-1")
    assert (seconds(started.started_at), seconds(started.last_seen_at), started.frames) == (0.0, 0.2, 2)


def test_one_match_alone_is_never_told() -> None:
    watched = Watched()
    for at_s in (0.0, 3.0, 6.0, 9.0):
        watched.frame(at_s, "milk")
    assert watched.sightings == []


def test_a_product_that_is_not_seen_for_the_gap_has_left() -> None:
    watched = Watched()
    for at_s in (0.0, 1.0):
        watched.frame(at_s, "milk")
    assert watched.frame(3.9) == []
    [ended] = watched.frame(4.0)
    assert (ended.kind, ended.reason, seconds(ended.last_seen_at)) == ("ended", "gap", 1.0)
    assert watched.tracker.sightings == 0


def test_a_product_that_comes_back_after_the_gap_is_another_sighting() -> None:
    watched = Watched()
    for at_s in (0.0, 1.0, 4.0, 5.0):
        watched.frame(at_s, "milk")
    assert told(watched.sightings) == [("started", "milk"), ("ended", "milk"), ("started", "milk")]
    assert watched.sightings[1].sighting != watched.sightings[2].sighting


def test_an_ambiguous_picture_keeps_a_sighting_alive() -> None:
    watched = Watched()
    for at_s, shown in ((0.0, "milk"), (1.0, "milk"), (3.0, "milk?"), (5.5, "milk?"), (8.0, "")):
        watched.frame(at_s, shown)
    assert told(watched.sightings) == [("started", "milk")]
    [ended] = watched.frame(8.5)
    assert (ended.frames, seconds(ended.last_seen_at)) == (2, 5.5)


def test_ambiguous_pictures_start_no_sighting_and_wait_for_none() -> None:
    watched = Watched()
    for at_s, shown in ((0.0, "milk?"), (0.2, "milk?"), (0.4, "milk"), (2.0, "milk?"), (3.5, "milk")):
        watched.frame(at_s, shown)
    assert watched.sightings == []


def test_an_ambiguous_picture_of_another_product_keeps_nothing_alive() -> None:
    watched = Watched()
    for at_s, shown in ((0.0, "milk"), (1.0, "milk"), (3.0, "oats?"), (4.0, "oats?")):
        watched.frame(at_s, shown)
    assert told(watched.sightings) == [("started", "milk"), ("ended", "milk")]


def test_a_product_that_stays_is_told_once_in_a_period() -> None:
    watched = Watched()
    for at_s in range(35):
        watched.frame(float(at_s), "milk")
    updates = [seconds(event.last_seen_at) for event in watched.sightings if event.kind == "updated"]
    assert updates == [10.0, 20.0, 30.0]


def test_the_best_picture_is_the_first_of_those_with_the_highest_score() -> None:
    watched = Watched()
    watched.frame(0.0, "milk 0.8", offset=4)
    watched.frame(1.0, "milk 0.9", offset=5)
    watched.frame(2.0, "milk 0.9", offset=6)
    [ended] = watched.frame(9.0)
    [best] = frame_events(1.0, "milk 0.9", offset=5)
    assert (ended.best.frame_id, ended.best.offset, ended.best.score) == (best.frame.id, 5, 0.9)


def test_several_regions_that_show_a_product_count_as_one_frame_and_the_best_of_them_is_kept() -> None:
    watched = Watched()
    assert watched.frame(0.0, "milk 0.8", "milk 0.9", "milk?") == []
    [started] = watched.frame(0.2, "milk 0.85", "milk?")
    assert (started.frames, started.best.score, started.best.region) == (2, 0.9, (10, 0, 10, 10))


def test_products_in_one_frame_have_a_sighting_each() -> None:
    watched = Watched()
    watched.frame(0.0, "milk", "oats")
    assert told(watched.frame(0.2, "milk", "oats", "")) == [("started", "milk"), ("started", "oats")]


def test_cameras_have_sightings_of_their_own() -> None:
    tracker = SightingTracker(SETTINGS)
    for camera in ("till-1", "till-2"):
        assert tracker.observe(frame_events(0.0, "milk", camera=camera)).sightings == ()
    ids = {tracker.observe(frame_events(0.2, "milk", camera=c)).sightings[0].sighting for c in ("till-1", "till-2")}
    assert len(ids) == 2


def test_events_say_which_sighting_they_belong_to() -> None:
    tracker = SightingTracker(SETTINGS)
    first = tracker.observe(frame_events(0.0, "milk"))
    second = tracker.observe(frame_events(0.2, "milk", "milk?", "oats", ""))
    third = tracker.observe(frame_events(0.4, "milk?"))
    assert first.events[0].sighting is None
    links = [event.sighting for event in second.events]
    assert links[0] is not None
    assert links == [links[0], links[0], None, None]
    assert (links[0].id, links[0].frames) == (second.sightings[0].sighting, 2)
    assert third.events[0].sighting == links[0]


def test_a_frame_that_comes_again_is_not_counted_twice() -> None:
    watched = Watched()
    watched.frame(0.0, "milk", offset=3)
    assert watched.frame(0.0, "milk", offset=9) == []
    watched.frame(0.2, "milk")
    watched.frame(0.4, "milk")
    watched.frame(0.2, "milk")
    [ended] = watched.frame(9.0)
    assert (ended.frames, seconds(ended.last_seen_at)) == (3, 0.4)


def test_a_clock_that_stands_still_ends_nothing() -> None:
    watched = Watched()
    for number in range(100):
        watched.frame(0.0, "milk" if number < 2 else "", number=number)
    assert told(watched.sightings) == [("started", "milk")]


def test_a_clock_that_is_set_back_a_little_makes_no_negative_length() -> None:
    watched = Watched()
    for at_s in (0.0, 0.2, -2.0):
        watched.frame(at_s, "milk")
    [ended] = watched.frame(9.0)
    assert seconds(ended.started_at) == seconds(ended.last_seen_at) == 0.0


def test_a_clock_that_is_set_back_far_ends_what_is_open() -> None:
    watched = Watched()
    for at_s in (0.0, 0.2, -3_600.0, -3_599.8):
        watched.frame(at_s, "milk")
    assert told(watched.sightings) == [("started", "milk"), ("ended", "milk"), ("started", "milk")]


def test_a_camera_that_sends_nothing_has_nothing_in_view_any_more() -> None:
    clock = Clock()
    watched = Watched(clock=clock)
    for at_s in (0.0, 0.2):
        watched.frame(at_s, "milk", "oats", partition=5)
    clock.now_s += 9.9
    assert watched.silent(5) == []
    clock.now_s += 0.1
    assert [(event.kind, event.reason) for event in watched.silent(5)] == [("ended", "silent")] * 2
    assert watched.silent(5) == []


def test_a_camera_that_sends_frames_is_not_silent_whatever_they_show() -> None:
    clock = Clock()
    watched = Watched(clock=clock)
    for number in range(30):
        clock.now_s += 9.0
        watched.frame(0.1 * number, "milk" if number < 2 else "")
        watched.silent(0)
    assert told(watched.sightings) == [("started", "milk")]


def test_a_camera_that_moved_to_another_partition_is_silent_there() -> None:
    clock = Clock()
    watched = Watched(clock=clock)
    for at_s, partition in ((0.0, 5), (0.2, 6)):
        watched.frame(at_s, "milk", partition=partition)
    clock.now_s += 10.0
    assert watched.silent(5) == []
    assert told(watched.silent(6)) == [("ended", "milk")]


def test_a_camera_whose_frames_still_wait_is_not_silent() -> None:
    clock = Clock()
    watched = Watched(clock=clock)
    for at_s in (0.0, 0.2):
        watched.frame(at_s, "milk", partition=5)
    clock.now_s += 100.0
    assert watched.silent(4, 6) == []
    assert told(watched.silent(4, 5)) == [("ended", "milk")]


def test_an_end_by_silence_that_was_told_before_a_restart_is_not_told_after_it() -> None:
    clock = Clock()
    tracker, successor = SightingTracker(SETTINGS, clock=clock), SightingTracker(SETTINGS, clock=clock)
    for at_s in (0.0, 0.2):
        successor.recall(tracker.observe(frame_events(at_s, "milk")).events)
    clock.now_s += 10.0
    [ended] = tracker.silent([0])
    successor.recall_silence(ended)
    assert successor.silent([0]) == []


def test_an_end_by_silence_does_not_end_what_was_seen_since() -> None:
    clock = Clock()
    tracker, successor = SightingTracker(SETTINGS, clock=clock), SightingTracker(SETTINGS, clock=clock)
    seen = [tracker.observe(frame_events(at_s, "milk")).events for at_s in (0.0, 0.2)]
    clock.now_s += 10.0
    [ended] = tracker.silent([0])
    for events in seen:
        successor.recall(events)
    successor.observe(frame_events(0.4, "milk"))
    successor.recall_silence(ended)
    assert successor.sightings == 1


def test_of_products_that_have_left_nothing_is_remembered() -> None:
    watched = Watched()
    for number in range(100):
        watched.frame(10.0 * number, f"passing-{number}")
    remembered = [track for track in gc.get_objects() if isinstance(track, Track) and "passing" in track.product.id]
    assert [track.product.id for track in remembered] == ["passing-99"]


def test_of_a_camera_that_is_gone_nothing_is_remembered() -> None:
    clock = Clock()
    watched = Watched(clock=clock)
    watched.frame(0.0, "milk")
    clock.now_s += 10.0
    assert watched.silent(0) == []
    assert watched.tracker.cameras == 0


def test_partitions_that_another_consumer_has_now_are_forgotten_without_a_word() -> None:
    clock = Clock()
    tracker = SightingTracker(SETTINGS, clock=clock)
    for at_s in (0.0, 0.2):
        for partition in (0, 1):
            tracker.observe(frame_events(at_s, "milk", camera=f"till-{partition}", partition=partition))
    tracker.forget_partitions([1, 7])
    clock.now_s += 100.0
    assert [event.camera for event in tracker.silent([0, 1])] == ["till-0"]


def test_nothing_is_told_when_sightings_are_off() -> None:
    tracker = SightingTracker(SightingSettings(enabled=False))
    for at_s in (0.0, 0.2, 0.4):
        events = frame_events(at_s, "milk")
        assert tracker.observe(events).events == tuple(events)
    assert (tracker.sightings, tracker.cameras) == (0, 0)


@pytest.mark.parametrize("start_frames", [1, 3])
def test_how_many_frames_start_one_can_be_set(start_frames: int) -> None:
    watched = Watched(SightingSettings(start_frames=start_frames))
    starts = [bool(watched.frame(0.2 * number, "milk")) for number in range(4)]
    assert starts == [number == start_frames - 1 for number in range(4)]


def test_a_silence_that_is_no_gap_is_refused() -> None:
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
    watched = Watched(SightingSettings(start_frames=start_frames, gap_s=3.0, update_s=10.0))
    runs: dict[str, list[list[int]]] = {"milk": [[]], "oats": [[]]}
    tenths = 0
    for number, (later, shown) in enumerate(frames):
        tenths += later
        watched.frame(tenths / 10, *sorted(shown), number=number)
        for product in shown:
            run = runs[product][-1]
            if run and tenths - run[-1] >= 30:
                runs[product].append([tenths])
            else:
                run.append(tenths)
    watched.frame(tenths / 10 + 3.0, number=len(frames))
    expected = {
        (product, run[0] / 10, run[-1] / 10, len(run))
        for product, product_runs in runs.items()
        for run in product_runs
        if len(run) >= start_frames
    }
    ended = [event for event in watched.sightings if event.kind == "ended"]
    assert {(e.product.id, seconds(e.started_at), seconds(e.last_seen_at), e.frames) for e in ended} == expected
    assert len(ended) == len(expected)


@given(FRAMES)
@settings(max_examples=50, deadline=None)
def test_a_sighting_is_started_once_then_updated_then_ended_once(frames: list[tuple[int, set[str]]]) -> None:
    watched = Watched()
    tenths = 0
    for number, (later, shown) in enumerate(frames):
        tenths += later
        watched.frame(tenths / 10, *sorted(shown), number=number)
    watched.frame(tenths / 10 + 3.0, number=len(frames))
    for sighting in {event.sighting for event in watched.sightings}:
        events = [event for event in watched.sightings if event.sighting == sighting]
        kinds = [event.kind for event in events]
        assert kinds == ["started", *["updated"] * (len(kinds) - 2), "ended"]
        assert [event.frames for event in events] == sorted(event.frames for event in events)
    assert len({event.id for event in watched.sightings}) == len(watched.sightings)


@given(st.lists(st.tuples(st.floats(0.01, 0.9), st.booleans()), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_a_flicker_shorter_than_the_gap_never_ends_a_sighting(steps: list[tuple[float, bool]]) -> None:
    watched = Watched()
    watched.frame(0.0, "milk")
    watched.frame(0.1, "milk")
    at_s = seen_s = 0.1
    for later_s, dark in steps:
        at_s += later_s
        if dark and at_s - seen_s < 2.0:  # with the next step it stays below three
            watched.frame(at_s)
        else:
            watched.frame(at_s, "milk")
            seen_s = at_s
    assert {event.kind for event in watched.sightings} <= {"started", "updated"}
    assert len({event.sighting for event in watched.sightings}) == 1
