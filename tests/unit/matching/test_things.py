"""Which frames show one thing, and what its votes publish."""

from dataclasses import replace

import pytest

from framematch.core.events import MatchEvent, SightingEvent
from framematch.matching import camera_tracks
from framematch.matching.sightings import SightingTracker
from tests.unit.matching.fake_frames import SETTINGS, changes, frame_events


def play(*frames: tuple[str, ...] | str, every_s: float = 0.2) -> tuple[list[list[MatchEvent]], list[SightingEvent]]:
    """The events of these frames as a tracker publishes them, and the sightings' events, with the ends of all."""
    tracker = SightingTracker(SETTINGS)
    observed = [
        tracker.observe(frame_events(number * every_s, *((shown,) if isinstance(shown, str) else shown)))
        for number, shown in enumerate(frames)
    ]
    observed.append(tracker.observe(frame_events(1_000.0)))
    return [list(one.events) for one in observed[:-1]], [event for one in observed for event in one.sightings]


def ends(sightings: list[SightingEvent]) -> list[tuple[str, int]]:
    """Product and frames of each sighting that ended."""
    return [(event.product.id, event.frames) for event in sightings if event.kind == "ended"]


def test_a_wrong_frame_of_the_same_picture_is_the_same_thing() -> None:
    published, sightings = play("milk@box0", "milk@box1", "oats@box2", "milk@box3", "milk@box4")
    assert changes(sightings) == [("started", "milk"), ("ended", "milk")]
    assert ends(sightings) == [("milk", 5)]
    link = published[2][0].sighting
    assert link is not None
    assert (link.product_id, link.runner_up) == ("milk", "oats")


def test_a_product_that_leads_for_long_enough_replaces_the_first_one() -> None:
    published, sightings = play(*["milk@box0", "milk@box1"], *[f"oats@box{number}" for number in range(2, 8)])
    assert changes(sightings) == [("started", "milk"), ("updated", "oats"), ("ended", "oats")]
    started, changed, ended = sightings
    assert started.sighting == changed.sighting == ended.sighting
    assert [event.changed_from for event in sightings] == [None, "milk", None]
    assert changed.product.name == "Oats"
    links = [events[0].sighting for events in published]
    assert [link.product_id for link in links if link] == ["milk"] * 4 + ["oats"] * 3
    assert [link.changed_from for link in links if link] == [None] * 4 + ["milk", None, None]
    assert ended.best.frame_id == published[5][0].frame.id


def test_products_that_follow_one_another_without_a_gap_are_two_things() -> None:
    _, sightings = play(*["milk@box0", "milk@box1", "milk@box2"], *["oats@bag0", "oats@bag1", "oats@bag2"])
    assert ends(sightings) == [("milk", 3), ("oats", 3)]


def test_products_that_look_alike_are_two_things_when_nothing_was_recognised_between_them() -> None:
    _, sightings = play("milk@box0", "milk@box1", "", "oats@box1", "oats@box2")
    assert ends(sightings) == [("milk", 2), ("oats", 2)]


def test_two_things_in_two_regions_keep_their_own_votes() -> None:
    frames = [(f"milk@box{number}", f"oats@bag{number}") for number in range(6)]
    frames[3] = ("oats@box3", "milk@bag3")
    _, sightings = play(*frames)
    assert sorted(ends(sightings)) == [("milk", 6), ("oats", 6)]


def test_a_thing_that_moves_to_another_place_stays_the_same_thing() -> None:
    _, sightings = play(("milk@box0",), ("milk@box0",), ("", "oats@box0"), ("", "milk@box0"))
    assert ends(sightings) == [("milk", 4)]


def test_one_product_in_two_regions_is_one_sighting() -> None:
    _, sightings = play(("milk@box0", "milk@bag0"), ("milk@box1", "milk@bag1"))
    assert ends(sightings) == [("milk", 2)]


def test_a_still_scene_counts_about_once_and_is_a_sighting() -> None:
    _, sightings = play(*["milk@box"] * 100)
    [ended] = [event for event in sightings if event.kind == "ended"]
    assert (ended.frames, ended.frames_used) == (100, 1.0)
    assert sightings[0].votes == ended.votes


def test_blurred_frames_alone_start_nothing() -> None:
    assert play(*[f"milk@box{number % 2} q0.05" for number in range(4)])[1] == []
    assert play(*[f"milk@box{number % 2} q0.5" for number in range(4)])[1] != []


def test_an_unknown_product_does_not_become_a_sighting_by_weak_frames() -> None:
    frames = [f"milk@box{n % 2} 0.76" if n % 4 == 0 else f"milk-@box{n % 2} 0.68" for n in range(100)]
    assert play(*frames)[1] == []
    assert play(*frames[::4])[1] != []


def test_a_thing_that_is_no_longer_recognised_ends_although_its_picture_stays() -> None:
    published, sightings = play("milk@box", "milk@box", *["milk-@box"] * 20)
    assert ends(sightings) == [("milk", 2)]
    assert [bool(events[0].sighting) for events in published] == [False] + [True] * 15 + [False] * 6


def test_what_may_become_a_sighting_is_published_as_tentative() -> None:
    [[first], [second]], _ = play("milk@box0", "milk@box1")
    assert (first.sighting, second.tentative) == (None, None)
    assert first.tentative is not None
    assert second.sighting is not None
    assert first.tentative.id == second.sighting.id
    assert (first.tentative.votes, first.tentative.frames_used) == ({"milk": 2.0}, 1.0)


def test_only_events_of_a_thing_have_a_sketch() -> None:
    [[milk, stranger]], _ = play(("milk@box", "oats-@bag"))
    assert milk.sketch is not None
    assert (stranger.sketch, stranger.sighting, stranger.tentative) == (None, None, None)


def test_an_ended_sighting_keeps_its_product() -> None:
    _, sightings = play("milk@box0", "milk@box1", *[""] * 16, *[f"oats@box{number}" for number in range(2, 8)])
    assert changes(sightings) == [("started", "milk"), ("ended", "milk"), ("started", "oats"), ("ended", "oats")]


def test_the_number_of_things_of_a_camera_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_tracks, "_MAX_TRACKS", 2)
    published, sightings = play(("milk@a", "oats@b"), ("milk@a", "oats@b"), ("eggs@c",), ("milk@a", "oats@b"))
    assert published[2][0].tentative is None
    assert sorted(ends(sightings)) == [("milk", 3), ("oats", 3)]
    [[*_], [eggs]], _ = play(("milk@a", "oats@b"), "eggs@c")
    assert eggs.tentative is not None


def test_a_sighting_of_a_consumer_that_did_not_count_votes_is_continued() -> None:
    tracker, successor = SightingTracker(SETTINGS), SightingTracker(SETTINGS)
    for number in range(3):
        [event] = tracker.observe(frame_events(0.2 * number, f"milk@box{number}")).events
        link = event.sighting
        old = link and replace(link, product_id=None, votes={}, frames_used=0.0, runner_up=None)
        successor.restore([replace(event, sighting=old, tentative=None, sketch=None)])
    assert successor.open_sightings == 1
    later = frame_events(0.6, "milk@box4")
    [[expected], [found]] = tracker.observe(later).events, successor.observe(later).events
    assert expected.sighting is not None
    assert found.sighting == replace(expected.sighting, votes={"milk": 5.0}, frames_used=4.0)
