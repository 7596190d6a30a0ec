"""Which regions are kept for people: about as many of each stratum, whatever the order and the restarts."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.core.events import BestPicture, MatchEvent, SightingLink
from framematch.review.strata import STRATA, HourSample, Stratum, fair_shares, group_of, offered, restored
from tests.sample_events import AT_US, match_event

NEAR = 0.05


def stratum_of(event: MatchEvent) -> str | None:
    place = offered(event, near=NEAR)
    return place.stratum if place else None


@pytest.mark.parametrize(
    ("event", "stratum"),
    [
        (match_event(decision="unknown", score=0.3), "unknown"),
        (match_event(decision="ambiguous", score=0.7), "ambiguous"),
        (match_event(score=0.54), "near"),
        (match_event(score=0.9), "match"),
        (replace(match_event(decision="unknown", score=0.3), reason="empty"), "empty"),
        (replace(match_event(decision="unknown", score=None), reason="no_content"), None),
        (replace(match_event(decision="unknown", score=0.3), reason="quality"), None),
        (replace(match_event(), reused_from="an earlier frame"), None),
    ],
)
def test_a_region_has_the_stratum_of_its_decision_and_what_tells_nothing_has_none(
    event: MatchEvent, stratum: str | None
) -> None:
    assert stratum_of(event) == stratum


def test_pictures_of_a_sighting_are_one_group_and_so_are_those_of_a_region_during_a_minute() -> None:
    link = SightingLink("s-1", "2026-01-01T00:00:00Z", 3, BestPicture("f", 0, 0, (0, 0, 1, 1), 0.9))
    assert group_of(replace(match_event(), sighting=link), AT_US) == "s-1"
    assert group_of(match_event(1), AT_US) == group_of(match_event(2), AT_US + 59_000_000)
    assert group_of(match_event(1), AT_US) != group_of(match_event(2), AT_US + 60_000_000)
    assert group_of(match_event(), AT_US) != group_of(replace(match_event(), region=(1, 0, 9, 10)), AT_US)


regions = st.lists(st.tuples(st.sampled_from(STRATA), st.integers(0, 40)), max_size=60, unique=True)


def ids_of(given_regions: list[tuple[Stratum, int]], size: int) -> set[str]:
    """The ids that are kept at the end, as a collector keeps them."""
    sample, kept = HourSample(size), set[str]()
    for stratum, key in given_regions:
        region_id = f"{stratum}-{key}"
        dropped = sample.offer(stratum, key, region_id) or frozenset()
        kept = (kept | {region_id}) - dropped
    assert len(sample) == len(kept) <= size
    return kept


@given(regions, st.integers(1, 12), st.randoms(use_true_random=False))
def test_what_is_kept_does_not_depend_on_the_order(
    given_regions: list[tuple[Stratum, int]], size: int, chance: random.Random
) -> None:
    shuffled = chance.sample(given_regions, len(given_regions))
    assert ids_of(given_regions, size) == ids_of(shuffled, size)


@given(regions, st.integers(1, 12))
def test_a_restart_in_between_changes_nothing(given_regions: list[tuple[Stratum, int]], size: int) -> None:
    half = len(given_regions) // 2
    before = ids_of(given_regions[:half], size)
    sample, beyond = restored(size, [(s, k, f"{s}-{k}") for s, k in given_regions[:half] if f"{s}-{k}" in before])
    assert beyond == frozenset()
    kept = set(before)
    for stratum, key in given_regions[half // 2 :]:  # some of them again
        if (dropped := sample.offer(stratum, key, f"{stratum}-{key}")) is not None:
            kept = (kept | {f"{stratum}-{key}"}) - dropped
    assert kept == ids_of(given_regions, size)


def test_rare_strata_are_not_crowded_out_by_many_clear_matches() -> None:
    many: list[tuple[Stratum, int]] = [("match", key) for key in range(500)]
    kept = ids_of([*many, ("unknown", 1), ("ambiguous", 900), *(("near", 600 + key) for key in range(9))], 10)
    assert sorted(name.partition("-")[0] for name in kept) == (
        ["ambiguous"] + ["match"] * 4 + ["near"] * 4 + ["unknown"]
    )


def test_one_picture_of_a_group_is_kept_and_another_one_when_the_first_is_gone() -> None:
    sample = HourSample(5)
    assert sample.offer("match", 7, "first") == frozenset()
    assert sample.offer("match", 7, "second") == frozenset({"second"})
    assert sample.offer("match", 7, "first") is None
    sample.remove("match", 7)
    assert sample.offer("match", 7, "second") == frozenset()


@given(st.dictionaries(st.sampled_from(STRATA), st.integers(0, 20)), st.integers(0, 30))
def test_places_are_shared_in_turn_and_none_stays_free(wanted: dict[Stratum, int], places: int) -> None:
    shares = fair_shares(wanted, places)
    assert sum(shares.values()) == min(places, sum(wanted.values()))
    assert all(shares[name] <= wanted.get(name, 0) for name in STRATA)
    short = [shares[name] for name in STRATA if shares[name] < wanted.get(name, 0)]
    assert all(share <= least + 1 for least in short for share in shares.values())
