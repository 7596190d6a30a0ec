"""The tables and lines of `framematch watch`."""

import re
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console, RenderableType

from framematch.cli.match_table import RECENT, EventRate, MatchTable, event_line
from framematch.cli.sighting_table import SightingTable, sighting_line
from framematch.core.events import MatchEvent, SightingEvent
from tests.sample_events import AT_US, match_event, sighting_event

S = 1_000_000
NOW_US = AT_US + 2 * S


def table_of(*events: MatchEvent) -> MatchTable:
    table = MatchTable()
    for event in events:
        table.update(event, NOW_US)
    return table


def sightings_of(*events: SightingEvent) -> SightingTable:
    table = SightingTable()
    for event in events:
        table.update(event, NOW_US)
    return table


def lines_of(shown: RenderableType) -> list[str]:
    """The lines, with runs of spaces as one space."""
    text = StringIO()
    Console(file=text, width=200).print(shown)
    return [re.sub(" +", " ", line).strip() for line in text.getvalue().splitlines()]


def test_a_camera_shows_its_last_decision_product_similarity_age_and_rate() -> None:
    table = table_of(match_event(1, product="bread"), match_event(2))
    assert "till-1 match Milk 1.50 0.900 +0.125 2.0 s 2.0" in lines_of(table.view(NOW_US, 50))


def test_without_a_match_the_nearest_product_is_shown_by_its_id() -> None:
    table = table_of(match_event(decision="unknown"), match_event(camera="till-2", decision="ambiguous", score=None))
    lines = lines_of(table.view(NOW_US, 50))
    assert "till-1 unknown milk 0.900 +0.125 2.0 s 1.0" in lines
    assert "till-2 ambiguous - - - 2.0 s 1.0" in lines


def test_the_reason_of_a_decision_is_shown() -> None:
    nothing = replace(match_event(decision="unknown", score=None), reason="no_content")
    lines = lines_of(table_of(nothing).view(NOW_US, 50))
    assert "till-1 unknown, no content - - - 2.0 s 1.0" in lines
    assert lines[-1] == "00:00:00.000 till-1 unknown - - - 2000 ms no content"


def test_the_age_grows_and_the_rate_falls_without_new_events() -> None:
    table = table_of(match_event(1), match_event(2))
    assert "till-1 match Milk 1.50 0.900 +0.125 62 s 0.0" in lines_of(table.view(NOW_US + 60 * S, 50))


def test_the_latest_events_are_listed_below_with_their_age_on_arrival() -> None:
    lines = lines_of(table_of(*(match_event(number) for number in range(20))).view(NOW_US, 50))
    assert lines[-RECENT:] == ["00:00:00.000 till-1 match Milk 1.50 0.900 +0.125 2000 ms"] * RECENT
    assert lines[-RECENT - 2 : -RECENT] == ["1 camera, 20.0 events/s", ""]


def test_cameras_that_do_not_fit_the_terminal_are_counted() -> None:
    table = table_of(*(match_event(camera=f"till-{number:02}") for number in range(30)))
    lines = lines_of(table.view(NOW_US, 24))
    assert len(lines) <= 24
    assert [line.split()[0] for line in lines if line.startswith("till-")] == [f"till-{n:02}" for n in range(12)]
    assert "30 cameras, 30.0 events/s, 18 of them not shown: use --camera" in lines


def test_before_the_first_event_it_says_that_it_waits() -> None:
    assert lines_of(MatchTable().view(NOW_US, 50)) == ["waiting for match events"]
    assert lines_of(SightingTable().view(NOW_US, 50)) == ["waiting for sightings"]


def test_an_event_with_an_invalid_time_is_refused_and_changes_nothing() -> None:
    table, event = table_of(match_event()), match_event(1)
    with pytest.raises(ValueError, match="RFC 3339"):
        table.update(replace(event, frame=replace(event.frame, grabbed_at="soon")), NOW_US)
    assert "1 camera, 1.0 events/s" in lines_of(table.view(NOW_US, 50))


def test_a_shown_name_contains_neither_control_characters_nor_markup() -> None:
    event = match_event(product="\x1b[2j[bold]")
    assert "?[2J[Bold]" in event_line(event, 0).plain
    assert any("?[2J[Bold]" in line for line in lines_of(table_of(event).view(NOW_US, 50)))


def test_the_rate_is_over_ten_seconds_or_since_the_first() -> None:
    rate = EventRate()
    assert rate.per_s(0) == 0
    for second in range(100):
        rate.count(AT_US + second * S)
        rate.count(AT_US + second * S)
    assert rate.per_s(AT_US + 99 * S) == pytest.approx(2, abs=0.3)
    assert rate.per_s(AT_US + 104 * S) == pytest.approx(1, abs=0.3)
    late = EventRate()
    for tenth in range(21):
        late.count(AT_US + tenth * S // 10)
    assert late.per_s(AT_US + 2 * S) == pytest.approx(10, abs=1)


def test_a_product_is_shown_until_it_has_left() -> None:
    table = sightings_of(
        sighting_event(product="bread"),
        sighting_event(product="milk"),
        sighting_event("updated", product="milk", seen_us=AT_US + S),
        sighting_event("ended", product="bread"),
    )
    lines = lines_of(table.view(NOW_US, 50))
    assert lines[1:4] == ["till-1 Milk 2.0 s 1.0 s 3 0.900", "1 product in view", ""]
    assert [line.split()[2:4] for line in lines[4:]] == [
        ["started", "Bread"], ["started", "Milk"], ["updated", "Milk"], ["ended", "Bread"],
    ]  # fmt: skip


def test_sightings_that_do_not_fit_the_terminal_are_counted() -> None:
    lines = lines_of(sightings_of(*(sighting_event(product=f"p{n}") for n in range(30))).view(NOW_US, 24))
    assert len(lines) <= 24
    assert "30 products in view, 18 of them not shown: use --camera" in lines


def test_the_line_of_a_sighting_has_its_duration() -> None:
    line = sighting_line(sighting_event("ended", seen_us=AT_US + 90 * S)).plain
    assert line.split() == ["00:01:30.000", "till-1", "ended", "Milk", "90", "s", "3", "frames", "0.900"]


def test_the_line_of_a_sighting_whose_product_changed_names_the_one_before() -> None:
    assert sighting_line(replace(sighting_event("updated"), changed_from="oats")).plain.endswith("0.900  was oats")
