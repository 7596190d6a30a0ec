"""The demo's verdict counts lost frames and judges only frames with a known truth."""

from dataclasses import replace

import pytest

from demo.schedule import FeedSchedule, Photo, Segment
from demo.verdict import Observations, Verdict, judge, percentile
from framematch.core.events import CandidateInfo, DecisionKind, FrameReference, MatchEvent, ModelInfo

# Frames 0-9 empty, 10-11 moving, 12-17 kiwi in view, 18-19 moving, 20-29 empty.
SCHEDULE = FeedSchedule(1, 10, 3.0, (Segment(10, 20, 2, Photo("kiwi.jpg", "kiwi")),))
EMPTY, MOVING, SHOWN = 5, 11, 15


def event(frame: str, *products: str, decision: DecisionKind = "match") -> MatchEvent:
    return MatchEvent(
        schema="match.v1",
        id=f"event of {frame}",
        frame=FrameReference(frame, "till-1", "2026-01-01T00:00:00.000000Z", 0, "t", 0, 0),
        region=(0, 0, 1, 1),
        decision=decision,
        score=0.9,
        margin=0.1,
        threshold=0.5,
        product=None,
        candidates=tuple(CandidateInfo(product, 0.9) for product in products),
        snapshot="s",
        model=ModelInfo("m", "d"),
        metadata_state="fresh",
        timings_ms={},
    )


def seen(*frames: tuple[int, MatchEvent | None]) -> Observations:
    """Published frames "0", "1", … that show this frame number, each with its event or without one."""
    found = Observations()
    for number, (index, answer) in enumerate(frames):
        found.timecodes[str(number)] = (1, index)
        if answer is not None:
            found.events[str(number)] = replace(answer, frame=replace(answer.frame, id=str(number)))
    return found


def verdict_on(found: Observations, *, captured: int | None = None, dropped: int = 0) -> Verdict:
    count = len(found.timecodes) + dropped if captured is None else captured
    return judge(found, [SCHEDULE], captured=count, dropped=dropped, gpu_percent=[])


def test_an_api_that_decides_otherwise_is_a_problem() -> None:
    verdict = verdict_on(seen((SHOWN, event("", "kiwi"))))
    assert replace(verdict, rest_agrees=True).problems == []
    assert replace(verdict, rest_agrees=False).problems == ["the REST API decided a frame otherwise than the stream"]


def test_a_good_run_has_no_problems() -> None:
    verdict = verdict_on(seen((SHOWN, event("", "kiwi")), (EMPTY, event("", "fig", decision="unknown"))))
    assert verdict.problems == []
    assert (verdict.frames_captured, verdict.frames_published, verdict.frames_matched, verdict.frames_lost) == (
        2,
        2,
        2,
        0,
    )
    assert verdict.decisions == {"match": 1, "unknown": 1}


def test_a_published_frame_without_an_event_is_lost() -> None:
    verdict = verdict_on(seen((SHOWN, event("", "kiwi")), (SHOWN, None)))
    assert verdict.frames_lost == 1
    assert verdict.problems == ["1 frames were lost"]


def test_a_captured_frame_that_is_neither_published_nor_a_counted_drop_is_lost() -> None:
    verdict = verdict_on(seen((SHOWN, event("", "kiwi"))), captured=5, dropped=1)
    assert verdict.frames_lost == 3


def test_a_dead_letter_is_not_lost() -> None:
    found = seen((SHOWN, event("", "kiwi")), (SHOWN, None))
    found.dead.add("1")
    assert verdict_on(found).frames_lost == 0


def test_without_a_match_the_demo_failed() -> None:
    verdict = verdict_on(seen((SHOWN, event("", "kiwi", decision="unknown"))))
    assert verdict.problems == ["there was no match"]


def test_top1_and_top5_are_over_frames_with_a_product_fully_in_view() -> None:
    verdict = verdict_on(
        seen(
            (SHOWN, event("", "kiwi", "fig")),
            (SHOWN, event("", "fig", "a", "b", "c", "kiwi")),
            (SHOWN, event("", "fig", "a", "b", "c", "d", "kiwi")),
            (MOVING, event("", "fig")),
            (EMPTY, event("", "fig")),
        )
    )
    assert verdict.frames_judged == 3
    assert verdict.top1 == pytest.approx(1 / 3, abs=1e-3)
    assert verdict.top5 == pytest.approx(2 / 3, abs=1e-3)


def test_a_match_on_the_empty_belt_is_counted_against_it() -> None:
    verdict = verdict_on(seen((EMPTY, event("", "fig")), (EMPTY, event("", "fig", decision="unknown"))))
    assert verdict.empty_taken_for_product == 0.5


def test_a_frame_with_an_unreadable_timecode_is_processed_but_not_judged() -> None:
    found = seen((SHOWN, event("", "fig")))
    found.timecodes["0"] = None
    verdict = verdict_on(found)
    assert (verdict.frames_judged, verdict.top1, verdict.frames_lost) == (0, None, 0)


def test_percentiles_of_nothing_one_and_many() -> None:
    assert percentile([], 50) is None
    assert percentile([7.0], 99) == 7.0
    assert percentile([float(n) for n in range(101)], 50) == 50.0
    assert percentile([float(n) for n in range(101)], 99) == 99.0


def test_gpu_readings_are_averaged_and_absent_without_a_gpu() -> None:
    found = seen((SHOWN, event("", "kiwi")))
    assert judge(found, [SCHEDULE], captured=1, dropped=0, gpu_percent=[40, 60]).gpu_utilisation_percent == 50
    assert verdict_on(found).gpu_utilisation_percent is None
