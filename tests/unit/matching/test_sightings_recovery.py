"""Sightings after crashes: the same events as without a crash, whatever was observed, published and committed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from framematch.core.events import MatchEvent, ProductInfo, SightingEvent
from framematch.matching.sightings import SightingTracker
from tests.unit.matching.fake_frames import SETTINGS, Clock, changes, frame_events, seconds

Frame = list[MatchEvent]
Crash = tuple[int, int]
"""How many frames are observed before it, and how many of them are not committed."""

WITHOUT_SKETCHES = ["", "milk", "milk 0.9", "milk?", "oats", "oats?"]
WITH_SKETCHES = [
    "milk@box0", "milk@box1 0.9", "milk@box2 q0.3", "milk?@box1", "milk-@box0",
    "oats@box1", "oats@box2", "oats?@bag", "oats@bag",
]  # fmt: skip
SHOWN = st.lists(st.sampled_from(WITHOUT_SKETCHES + 2 * WITH_SKETCHES), min_size=1, max_size=3)
CAMERAS = st.sampled_from(["till-1", "till-2"])
FORWARD_S = st.sampled_from([0.0, 0.2, 1.0, 2.0, 2.9, 3.0, 11.0])
ANY_WAY_S = st.one_of(FORWARD_S, st.sampled_from([-0.5, -2.0, -4.0]))
CRASHES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), max_size=4)


def streams(steps_s: st.SearchStrategy[float]) -> st.SearchStrategy[list[Frame]]:
    """Frames of two cameras in one partition; some are sent twice."""

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
    """Observes frames in order, crashes, and restores the published events that `restores` selects.

    `live`: our clock advances with the frames' clock, so cameras may be silent.
    """

    restores: Callable[[Frame, Frame], bool]
    live: bool = False
    clock: Clock = field(default_factory=Clock)
    published: dict[int, Frame] = field(default_factory=dict)
    sightings: list[SightingEvent] = field(default_factory=list)
    committed: int = 0

    def __post_init__(self) -> None:
        self.tracker = SightingTracker(SETTINGS, clock=self.clock)

    def observe(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if self.live:
                self.clock.now_s = max(self.clock.now_s, arrived_at_s(frame))
            observed = self.tracker.observe(frame)
            again = self.published.setdefault(frame[0].frame.offset, list(observed.events))
            # A repeated frame loses its link when its camera's silence ended the sighting before the commit.
            assert again == list(observed.events) or self.live
            self.sightings += observed.sightings
            self.sightings += self.tracker.end_silent([0])

    def crash(self, committed: int) -> None:
        self.committed = max(self.committed, committed)
        self.tracker = SightingTracker(SETTINGS, clock=self.clock)
        below = [frame for offset, frame in sorted(self.published.items()) if offset < self.committed]
        for frame in below:
            if self.restores(frame, below[-1]):
                self.tracker.restore(frame)
        for event in self.sightings:
            if event.reason == "silent":
                self.tracker.restore_silence_end(event)

    def end(self) -> list[SightingEvent]:
        """End all open sightings by silence; returns these events."""
        self.clock.now_s += 100.0
        ends = self.tracker.end_silent([0])
        assert self.tracker.open_sightings == 0
        self.sightings += ends
        return ends


def everything(_frame: Frame, _last: Frame) -> bool:
    return True


def nothing(_frame: Frame, _last: Frame) -> bool:
    return False


def the_newest(frame: Frame, last: Frame) -> bool:
    lookback_s = SETTINGS.start_frames * SETTINGS.gap_s + SETTINGS.silent_s
    return arrived_at_s(last) - arrived_at_s(frame) <= lookback_s


def arrived_at_s(frame: Frame) -> float:
    return seconds(frame[0].frame.arrived_at)


def run(
    frames: list[Frame],
    crashes: list[Crash],
    restores: Callable[[Frame, Frame], bool] = everything,
    *,
    live: bool = False,
) -> Consumer:
    consumer = Consumer(restores, live)
    for observed, uncommitted in crashes:
        until = consumer.committed + observed
        consumer.observe(frames[consumer.committed : until])
        consumer.crash(min(until, len(frames)) - uncommitted)
    consumer.observe(frames[consumer.committed :])
    return consumer


@given(streams(ANY_WAY_S), CRASHES)
@settings(max_examples=80, deadline=None)
def test_crashes_change_neither_the_sighting_events_nor_what_is_open(frames: list[Frame], crashes: list[Crash]) -> None:
    without, with_crashes = run(frames, []), run(frames, crashes)
    assert with_crashes.published == without.published
    assert with_crashes.end() == without.end()
    assert {event.id: event for event in with_crashes.sightings} == {event.id: event for event in without.sightings}


@given(streams(FORWARD_S), CRASHES)
@settings(max_examples=80, deadline=None)
def test_the_newest_published_events_are_enough_to_restore(frames: list[Frame], crashes: list[Crash]) -> None:
    without, with_crashes = run(frames, [], live=True), run(frames, crashes, the_newest, live=True)
    without.end()
    with_crashes.end()
    assert {event.id for event in with_crashes.sightings} == {event.id for event in without.sightings}


def test_the_product_is_restored_though_its_last_decisions_were_ambiguous() -> None:
    tracker, successor = SightingTracker(SETTINGS), SightingTracker(SETTINGS)
    for at_s, shown in ((0.0, "milk"), (0.2, "milk"), (0.4, "milk?")):
        successor.restore(tracker.observe(frame_events(at_s, shown)).events)
    gone = frame_events(9.0)
    assert successor.observe(gone) == tracker.observe(gone)


def test_a_product_without_a_match_in_the_restored_events_is_named_by_its_id() -> None:
    tracker, successor = SightingTracker(SETTINGS), SightingTracker(SETTINGS)
    for at_s, shown in ((0.0, "milk"), (0.2, "milk"), (0.4, "milk?")):
        observed = tracker.observe(frame_events(at_s, shown))
    successor.restore(observed.events)
    [ended], [expected] = successor.observe(frame_events(9.0)).sightings, tracker.observe(frame_events(9.0)).sightings
    assert ended == replace(expected, product=ProductInfo("milk", "milk"))


def test_matches_published_while_sightings_were_disabled_count_towards_a_start() -> None:
    tracker = SightingTracker(SETTINGS)
    for at_s in (0.0, 0.2, 0.4):
        tracker.restore(frame_events(at_s, "milk"))
    assert tracker.open_sightings == 0
    assert changes(tracker.observe(frame_events(0.6, "milk")).sightings) == [("started", "milk")]


def test_a_consumer_that_restores_nothing_repeats_a_start() -> None:
    frames = [frame_events(number / 5, "milk", number=number, offset=number) for number in range(10)]
    without, forgetful = run(frames, []), run(frames, [(5, 0)], nothing)
    assert changes(forgetful.sightings) == [("started", "milk")] * 2
    assert forgetful.end() != without.end()
