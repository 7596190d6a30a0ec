"""Published and replayed answers are paired by the ids of their events."""

from dataclasses import replace

import pytest

from consumers.in_flight_frame import Decided, InFlightFrame
from consumers.replay.pairing import (
    Answer,
    OnlyPublished,
    OnlyReplayed,
    Pair,
    Pairing,
    Place,
    published_answer,
    replayed_answers,
)
from framematch.core.events import DecisionKind, MatchEvent, encode, frame_reference
from framematch.core.frames import Frame
from framematch.core.ids import match_event_id
from framematch.matching.decision import NO_CONTENT, Candidate, Decision
from tests.sample_events import match_event
from tests.unit.consumers.sample_frames import make_served, record


def answer(
    offset: int,
    *,
    decision: DecisionKind = "match",
    product: str = "milk",
    score: float = 0.9,
    id_of: int | None = None,
) -> Answer:
    """An answer for the only region of the frame at `offset`."""
    frame = Place(f"frame {offset}", "till-1", "2026-01-01T00:00:00Z", 0, 0, offset)
    matched = product if decision == "match" else None
    own_id = f"event {offset if id_of is None else id_of}"
    return Answer(own_id, frame, (0, 0, 1, 1), decision, matched, product, score, "s", 0)


def test_answers_with_one_id_are_a_pair_whichever_comes_first() -> None:
    pairing = Pairing(0)
    assert pairing.add_replayed([answer(0), answer(1)]) == []
    assert pairing.add_published(answer(1)) == [Pair(answer(1), answer(1))]
    assert pairing.add_published(answer(2)) == []
    assert pairing.read_to(2) == []
    assert pairing.add_replayed([answer(2)]) == [Pair(answer(2), answer(2))]
    assert pairing.waiting == 1


@pytest.mark.parametrize(
    ("replayed", "changed"),
    [
        (answer(0), False),
        (answer(0, score=0.7), False),
        (answer(0, product="juice"), True),
        (answer(0, decision="ambiguous"), True),
    ],
)
def test_another_decision_or_product_is_a_change_and_a_score_is_not(replayed: Answer, changed: bool) -> None:
    assert Pair(answer(0), replayed).changed is changed


def test_the_nearest_product_of_two_unknowns_is_no_change() -> None:
    assert not Pair(answer(0, decision="unknown"), answer(0, decision="unknown", product="juice")).changed


def test_an_event_that_was_published_twice_counts_once_with_its_first_answer() -> None:
    pairing = Pairing(0)
    assert pairing.add_published(answer(0)) == []
    assert pairing.add_published(answer(0, product="juice")) == []
    [pair] = pairing.add_replayed([answer(0)])
    assert pair == Pair(answer(0), answer(0))
    pairing.read_to(1)
    assert pairing.add_published(answer(0, product="juice")) == []


def test_frames_without_an_event_are_not_processed_yet_or_have_no_output() -> None:
    pairing = Pairing(0)
    pairing.add_replayed([answer(0), answer(1), answer(2)])
    pairing.add_published(answer(1))
    assert pairing.finish() == [OnlyReplayed(answer(0), "no_output"), OnlyReplayed(answer(2), "not_processed")]


def test_an_event_of_a_frame_that_cannot_be_decided_has_no_other_half() -> None:
    pairing = Pairing(0)
    assert pairing.add_published(answer(0)) == []
    pairing.add_undecided(0)
    pairing.add_undecided(1)
    assert pairing.read_to(2) == [OnlyPublished(answer(0))]
    assert pairing.add_published(answer(1)) == [OnlyPublished(answer(1))]
    assert pairing.add_published(answer(1)) == []


def test_events_of_frames_outside_of_the_range_are_dropped() -> None:
    pairing = Pairing(10)
    assert pairing.add_published(answer(9)) == []
    assert pairing.add_published(answer(10)) == []
    assert pairing.read_to(11) == []
    assert pairing.add_replayed([answer(11)]) == []


def test_the_event_of_a_dead_letter_that_was_sent_again_belongs_to_its_frame() -> None:
    pairing = Pairing(0)
    pairing.add_replayed([answer(0)])
    again = answer(7, id_of=0)
    assert pairing.add_published(again) == [Pair(again, answer(0))]


AT_US = 1_767_225_600_000_000
FRAME = Frame("till-1", AT_US, 3, regions=((0, 0, 4, 4), (4, 0, 4, 4)), grabbed_at_us=AT_US + 1_000_000)


def decided(*decisions: Decision) -> InFlightFrame:
    frame = InFlightFrame(record(17, partition=2), "till-1", 0)
    frame.header, frame.regions, frame.served = FRAME, FRAME.regions, make_served(snapshot="new", delta=4)
    frame.outcome = Decided(decisions, {})
    return frame


def test_a_replayed_answer_is_what_the_consumers_event_would_say() -> None:
    candidates = (Candidate("milk", 0.87654321), Candidate("juice", 0.5))
    first, second = replayed_answers(decided(Decision("match", 0.87654321, 0.37, candidates), NO_CONTENT))
    assert first.id == match_event_id(FRAME.id, FRAME.regions[0], "match.v1")
    assert (first.decision, first.product, first.nearest, first.score) == ("match", "milk", "milk", 0.876543)
    assert (first.snapshot, first.delta) == ("new", 4)
    assert (second.decision, second.product, second.nearest, second.score) == ("unknown", None, None, None)
    assert (first.frame.partition, first.frame.offset, first.frame.arrived_at_us) == (2, 17, AT_US + 1_000_000)


def test_a_frame_without_a_decision_has_no_answers() -> None:
    assert replayed_answers(InFlightFrame(record(0), "till-1", 0)) == []


def test_a_published_answer_is_what_the_event_says() -> None:
    event = replace(
        match_event(decision="ambiguous", score=0.25),
        frame=frame_reference(FRAME, "framematch.frames", 2, 17),
        delta=3,
        reused_from="earlier",
    )
    assert isinstance(event, MatchEvent)
    assert encode(event)
    found = published_answer(event)
    assert (found.id, found.decision, found.product, found.nearest) == (event.id, "ambiguous", None, "milk")
    assert (found.score, found.snapshot, found.delta, found.reused) == (0.25, event.snapshot, 3, True)
    assert found.frame == replayed_answers(decided(NO_CONTENT, NO_CONTENT))[0].frame
