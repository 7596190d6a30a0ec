"""How differences and the summary of a replay are shown."""

import json
from collections import Counter

from consumers.replay.pairing import Answer, OnlyPublished, OnlyReplayed, Pair, Place
from consumers.replay.replay import Reading
from consumers.replay.summary import Summary
from consumers.replay.time_range import TimeRange
from framematch.cli.console import new_console
from framematch.cli.replay_table import difference_line, difference_table, summary_line, summary_lines
from framematch.core.events import DecisionKind

AT_US = 1_767_225_600_000_000
PLACE = Place("frame", "till-1", "2026-01-01T00:00:00.250000Z", AT_US, 2, 17)


def answer(decision: DecisionKind, nearest: str | None, score: float | None, *, reused: bool = False) -> Answer:
    matched = nearest if decision == "match" else None
    return Answer("event", PLACE, (1, 2, 30, 40), decision, matched, nearest, score, "old", 0, reused)


CHANGED = Pair(answer("match", "milk", 0.9, reused=True), answer("unknown", "juice", 0.5))
MISSING = OnlyReplayed(answer("unknown", None, None), "no_output")
VANISHED = OnlyPublished(answer("match", "milk", 0.9))
SAME = Pair(answer("match", "milk", 0.9), answer("match", "milk", 0.875))


def summary() -> Summary:
    found = Summary()
    for one in (CHANGED, SAME, SAME, SAME, MISSING, VANISHED):
        found.add(one)
    return found


def reading() -> Reading:
    return Reading(
        frames=7, repeats=1, undecided=Counter(truncated=2), gone_before_us={3: AT_US}, finished=True
    )  # fmt: skip


def test_each_kind_of_difference_is_a_json_object_with_both_answers() -> None:
    changed, missing, vanished = (json.loads(difference_line(one)) for one in (CHANGED, MISSING, VANISHED))
    assert (changed["kind"], changed["id"], changed["region"]) == ("changed", "event", [1, 2, 30, 40])
    assert changed["frame"] == {
        "id": "frame", "camera": "till-1", "captured_at": PLACE.captured_at, "partition": 2, "offset": 17,
    }  # fmt: skip
    assert changed["published"] == {
        "decision": "match", "product": "milk", "nearest": "milk", "score": 0.9, "snapshot": "old", "delta": 0,
        "reused": True,
    }  # fmt: skip
    assert (changed["replayed"]["product"], changed["replayed"]["nearest"]) == (None, "juice")
    assert (missing["kind"], missing["reason"], missing["published"]) == ("missing", "no_output", None)
    assert (vanished["kind"], vanished["replayed"]) == ("only_published", None)


def test_each_kind_of_difference_is_a_row() -> None:
    console = new_console()
    with console.capture() as shown:
        console.print(difference_table([CHANGED, MISSING, VANISHED]))
    heading, *rows = (" ".join(line.split()) for line in shown.get().splitlines())
    assert heading == "Captured (UTC) Camera Region Published Replayed Score"
    place = "2026-01-01 00:00:00.250 till-1 1,2 30x40"
    assert rows == [
        f"{place} match milk unknown juice 0.900 -> 0.500",
        f"{place} dead letter, or skipped unknown -",
        f"{place} match milk cannot be decided 0.900",
    ]


def test_the_summary_in_json_has_every_number() -> None:
    found = json.loads(summary_line(summary(), reading()))
    assert (found["kind"], found["finished"], found["frames"], found["regions"]) == ("summary", True, 7, 4)
    assert (found["changed_decisions"], found["changed_products"]) == (1, 1)
    assert found["naive_changed_share"]["share"] == 0.25
    assert found["changed_share"] is None  # too few camera-minutes
    assert found["decisions"]["match"] == {"match": 3, "ambiguous": 0, "unknown": 1}
    assert found["flows"] == [{"published": "milk", "replayed": None, "regions": 1}]
    assert found["gone_before"] == {"3": "2026-01-01T00:00:00.000000Z"}
    assert (found["missing"], found["only_published"], found["reused"]) == ({"no_output": 1}, 1, 1)
    assert found["largest_score_shift"] == 0.4


def test_the_summary_for_people_says_the_same() -> None:
    text = "\n".join(summary_lines(TimeRange(AT_US, AT_US + 1), "new", summary(), reading()))
    for line in (
        "1 difference in 4 regions",
        "frames      7 replayed with snapshot new; 2 cannot be decided (2 truncated); 1 repeat",
        "published   by old (4)",
        "products    1 changed: 25.00% (95 % interval 4.56% to 69.94%, if regions were independent",
        "flow        milk -> no match: 1",
        "no event    1 region: 1 dead letter, or skipped",
        "undecided   1 event of frames that cannot be decided now",
    ):
        assert line in text, text
    assert "Ended early" not in text


def test_a_replay_that_ended_early_says_so() -> None:
    [first, *_] = summary_lines(TimeRange(AT_US, AT_US + 1), "new", Summary(), Reading(frames=1))
    assert first.startswith("Ended early")
