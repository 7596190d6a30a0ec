"""What is counted of a shadow's decisions."""

import pytest

from framematch.matching.decision import NO_CONTENT
from framematch.matching.shadow.comparison import Comparison
from framematch.matching.shadow.counts import MAX_CAMERAS, MAX_FLOWS, ChangeSums, Cost, Flow, ShadowCounts, merged
from framematch.matching.shadow.frequent import FrequentKeys
from tests.unit.matching.shadow_samples import AMBIGUOUS, UNKNOWN, compared, match, region


def test_the_decisions_are_counted_by_both_kinds() -> None:
    counts = compared(
        [
            region(match("milk"), match("milk")),
            region(match("milk"), match("oats")),
            region(match("milk"), AMBIGUOUS),
            region(UNKNOWN, match("oats")),
            region(UNKNOWN, UNKNOWN),
            region(AMBIGUOUS, UNKNOWN),
        ]
    ).counts()
    assert counts.decisions == ((2, 1, 0), (0, 0, 1), (1, 0, 1))
    assert counts.regions == 6


def test_a_region_is_changed_when_its_product_is_another_one_or_none() -> None:
    counts = compared(
        [
            region(match("milk"), match("milk")),
            region(match("milk"), match("oats")),
            region(match("milk"), AMBIGUOUS),
            region(match("milk"), UNKNOWN),
            region(UNKNOWN, match("oats")),
            region(UNKNOWN, AMBIGUOUS),
        ]
    ).counts()
    changes = {change: sums.regions for change, sums in counts.changes.items()}
    assert changes == {"changed": 4, "replaced": 1, "lost": 2, "gained": 1, "unknown": 1}


def test_flows_are_of_changed_products_with_the_largest_first() -> None:
    counts = compared(
        [
            region(UNKNOWN, match("oats")),
            region(match("a.b$c"), match("milk")),
            region(match("a.b$c"), match("milk")),
            region(match("milk"), match("milk")),
        ]
    ).counts()
    assert counts.flows == (Flow("a.b$c", "milk", 2), Flow(None, "oats", 1))
    assert counts.flow_error == 0


def test_camera_minutes_have_the_sums_of_their_regions() -> None:
    counts = compared(
        [
            *(region(match("milk"), UNKNOWN, minute=0, frame=frame) for frame in range(3)),
            region(match("milk"), match("milk"), minute=0, frame=3),
            *(region(match("milk"), match("milk"), minute=1, frame=frame) for frame in range(2)),
            region(match("milk"), UNKNOWN, camera="till-2", minute=1),
        ]
    ).counts()
    assert (counts.minutes, counts.squares) == (3, 4**2 + 2**2 + 1)
    assert counts.changes["lost"] == ChangeSums(minutes=2, full_minutes=1, regions=4, squares=9 + 1, products=12 + 1)


def test_a_frame_counts_once_however_many_regions_it_has() -> None:
    counts = compared(region(UNKNOWN, UNKNOWN, frame=frame) for frame in (0, 0, 0, 1, 1)).counts()
    assert (counts.frames, counts.regions) == (2, 5)


def test_the_shift_is_of_regions_with_two_scores() -> None:
    counts = compared(
        [region(match("a", 0.5), match("b", 0.75)), region(match("a", 0.5), UNKNOWN), region(UNKNOWN, NO_CONTENT)]
    ).counts()
    assert counts.shift.regions == 2
    assert counts.shift.total == pytest.approx(0.05)


def test_what_is_counted_stays_bounded() -> None:
    comparison = compared(
        region(match(f"a{n}"), match(f"b{n}"), camera=f"till-{n}") for n in range(MAX_CAMERAS + MAX_FLOWS + 5)
    )
    counts = comparison.counts()
    assert (len(counts.flows), len(counts.cameras)) == (MAX_FLOWS, MAX_CAMERAS)
    assert counts.regions == counts.minutes == MAX_CAMERAS + MAX_FLOWS + 5
    assert 0 < counts.flow_error <= counts.regions / MAX_FLOWS


def test_counts_of_two_processes_are_those_of_one() -> None:
    regions = [
        region(match("milk"), decision, camera=f"till-{camera}", minute=minute, frame=frame)
        for camera, decision in enumerate((match("milk"), match("oats"), UNKNOWN))
        for minute in range(2)
        for frame in range(3)
    ]
    both, first, second = compared(regions), compared(regions[:6]), compared(regions[6:])
    for part in (both, first):
        part.dropped, part.failed = 3, 2
        part.add_cost(Cost(2.0, 1.0), Cost(0.0, 4.0))
    whole, parts = merged([both.counts()]), merged([first.counts(), second.counts()])
    assert parts == whole


def test_counts_of_nothing_are_zero() -> None:
    assert merged([]) == merged([Comparison().counts()])
    assert merged([ShadowCounts()]).first_at == ""


def test_frequent_keys_are_exact_until_there_is_no_place() -> None:
    keys: FrequentKeys[str] = FrequentKeys(3)
    for key in "aabbbc":
        keys.add(key)
    assert (keys.most_common(), keys.error) == ([("b", 3), ("a", 2), ("c", 1)], 0)


def test_a_frequent_key_that_comes_late_is_found_and_its_count_is_too_high_by_at_most_the_error() -> None:
    keys: FrequentKeys[int] = FrequentKeys(10)
    for key in range(1_000):
        keys.add(key)
    for _ in range(500):
        keys.add(-1)
    key, count = keys.most_common()[0]
    assert key == -1
    assert 500 <= count <= 500 + keys.error
    assert keys.error <= 1_500 / 10
