"""Sightings after crashes: whatever was observed, published and committed, the same is told as without a crash."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from framematch.core.events import MatchEvent, ProductInfo, SightingEvent
from framematch.matching.sightings import SightingTracker
from tests.unit.matching.made_up_frames import SETTINGS, Clock, frame_events, seconds, told

Frame = list[MatchEvent]
Crash = tuple[int, int]
"""How many frames are answered before it, and how many of them are not committed."""

SHOWN = st.lists(st.sampled_from(["", "milk", "milk 0.9", "milk?", "oats", "oats?"]), min_size=1, max_size=3)
CAMERAS = st.sampled_from(["till-1", "till-2"])
FORWARD_S = st.sampled_from([0.0, 0.2, 1.0, 2.0, 2.9, 3.0, 11.0])
ANY_WAY_S = st.one_of(FORWARD_S, st.sampled_from([-0.5, -2.0, -4.0]))
CRASHES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), max_size=4)


def streams(steps_s: st.SearchStrategy[float]) -> st.SearchStrategy[list[Frame]]:
    """Frames of two cameras in one partition, some of which are sent twice."""

    def frames(steps: list[tuple[float, str, list[str], bool]]) -> list[Frame]:
        made: list[Frame] = []
        at_s = 0.0
        for number, (later_s, camera, shown, twice) in enumerate(steps):
            at_s += later_s
            for _ in range(1 + twice):
                made.append(frame_events(at_s, *shown, camera=camera, number=number, offset=len(made)))
        return made

    return st.lists(st.tuples(steps_s, CAMERAS, SHOWN, st.booleans()), max_size=30).map(frames)


@dataclass
class Consumer:
    """Answers frames in order, crashes, and starts again from what it has published, or so much of it as it recalls.

    `live`: our clock goes with that of the frames, and cameras may be silent.
    """

    recalls: Callable[[Frame, Frame], bool]
    live: bool = False
    clock: Clock = field(default_factory=Clock)
    published: dict[int, Frame] = field(default_factory=dict)
    told: list[SightingEvent] = field(default_factory=list)
    committed: int = 0

    def __post_init__(self) -> None:
        self.tracker = SightingTracker(SETTINGS, clock=self.clock)

    def answer(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if self.live:
                self.clock.now_s = max(self.clock.now_s, came_at_s(frame))
            observed = self.tracker.observe(frame)
            again = self.published.setdefault(frame[0].frame.offset, list(observed.events))
            # A frame sent twice, whose camera's silence was told before it was committed, says no more what it was in.
            assert again == list(observed.events) or self.live
            self.told += observed.sightings
            self.told += self.tracker.silent([0])

    def crash(self, committed: int) -> None:
        self.committed = max(self.committed, committed)
        self.tracker = SightingTracker(SETTINGS, clock=self.clock)
        below = [frame for offset, frame in sorted(self.published.items()) if offset < self.committed]
        for frame in below:
            if self.recalls(frame, below[-1]):
                self.tracker.recall(frame)
        for event in self.told:
            if event.reason == "silent":
                self.tracker.recall_silence(event)

    def end(self) -> list[SightingEvent]:
        """The ends of all that is open."""
        self.clock.now_s += 100.0
        ends = self.tracker.silent([0])
        assert self.tracker.cameras == 0
        self.told += ends
        return ends


def everything(_frame: Frame, _last: Frame) -> bool:
    return True


def nothing(_frame: Frame, _last: Frame) -> bool:
    return False


def the_newest(frame: Frame, last: Frame) -> bool:
    lookback_s = SETTINGS.start_frames * SETTINGS.gap_s + SETTINGS.silent_s
    return came_at_s(last) - came_at_s(frame) <= lookback_s


def came_at_s(frame: Frame) -> float:
    return seconds(frame[0].frame.arrived_at)


def run(
    frames: list[Frame],
    crashes: list[Crash],
    recalls: Callable[[Frame, Frame], bool] = everything,
    *,
    live: bool = False,
) -> Consumer:
    consumer = Consumer(recalls, live)
    for answered, lost in crashes:
        until = consumer.committed + answered
        consumer.answer(frames[consumer.committed : until])
        consumer.crash(min(until, len(frames)) - lost)
    consumer.answer(frames[consumer.committed :])
    return consumer


@given(streams(ANY_WAY_S), CRASHES)
@settings(max_examples=80, deadline=None)
def test_whatever_crashes_there_are_the_same_is_told_and_the_same_is_open(
    frames: list[Frame], crashes: list[Crash]
) -> None:
    without, with_crashes = run(frames, []), run(frames, crashes)
    assert with_crashes.published == without.published
    assert with_crashes.end() == without.end()
    assert {event.id: event for event in with_crashes.told} == {event.id: event for event in without.told}


@given(streams(FORWARD_S), CRASHES)
@settings(max_examples=80, deadline=None)
def test_the_newest_part_of_what_was_published_is_enough(frames: list[Frame], crashes: list[Crash]) -> None:
    without, with_crashes = run(frames, [], live=True), run(frames, crashes, the_newest, live=True)
    without.end()
    with_crashes.end()
    assert {event.id for event in with_crashes.told} == {event.id for event in without.told}


def test_the_product_is_known_after_a_crash_though_its_last_pictures_were_ambiguous() -> None:
    tracker, successor = SightingTracker(SETTINGS), SightingTracker(SETTINGS)
    for at_s, shown in ((0.0, "milk"), (0.2, "milk"), (0.4, "milk?")):
        successor.recall(tracker.observe(frame_events(at_s, shown)).events)
    gone = frame_events(9.0)
    assert successor.observe(gone) == tracker.observe(gone)


def test_a_product_that_was_ambiguous_for_longer_than_is_recalled_has_its_id_for_a_name() -> None:
    tracker, successor = SightingTracker(SETTINGS), SightingTracker(SETTINGS)
    for at_s, shown in ((0.0, "milk"), (0.2, "milk"), (0.4, "milk?")):
        observed = tracker.observe(frame_events(at_s, shown))
    successor.recall(observed.events)
    [ended], [expected] = successor.observe(frame_events(9.0)).sightings, tracker.observe(frame_events(9.0)).sightings
    assert ended == replace(expected, product=ProductInfo("milk", "milk"))


def test_matches_of_a_time_without_sightings_start_one_that_is_told() -> None:
    tracker = SightingTracker(SETTINGS)
    for at_s in (0.0, 0.2, 0.4):
        tracker.recall(frame_events(at_s, "milk"))
    assert tracker.sightings == 0
    assert told(tracker.observe(frame_events(0.6, "milk")).sightings) == [("started", "milk")]


def test_a_crash_is_told_from_no_crash_when_nothing_is_recalled() -> None:
    frames = [frame_events(number / 5, "milk", number=number, offset=number) for number in range(10)]
    without, forgetful = run(frames, []), run(frames, [(5, 0)], nothing)
    assert told(forgetful.told) == [("started", "milk")] * 2
    assert forgetful.end() != without.end()
