"""The report on a shadow, for the screen and as JSON."""

import json

from framematch.cli.console import new_console
from framematch.cli.snapshots.shadow_report_text import ReportOfPair, report_json, report_texts
from framematch.matching.shadow.comparison import Comparison
from framematch.matching.shadow.counts import MAX_FLOWS, Cost
from framematch.matching.shadow.report import ShadowReport
from tests.unit.matching.shadow_samples import UNKNOWN, compared, match, region, report_of


def shown(report: ShadowReport) -> str:
    console = new_console(soft_wrap=True)
    with console.capture() as capture:
        for text in report_texts(ReportOfPair(report, None, None)):
            console.print(text)
    return capture.get()


def test_text_from_outside_cannot_control_the_terminal() -> None:
    text = shown(ShadowReport("a", "b", compared([region(match("evil\x1b[2J"), UNKNOWN)]).counts()))
    assert "\x1b" not in text
    assert "evil?[2J" in text


def test_each_share_has_its_interval_and_the_one_that_takes_regions_as_independent() -> None:
    (line,) = (line for line in shown(report_of(600, changed=6)).splitlines() if line.startswith("changed"))
    assert line.split()[1:9] == ["60", "1.00%", "0.46%", "to", "2.17%", "0.78%", "to", "1.28%"]


def test_what_took_how_long_is_for_one_region() -> None:
    comparison = compared(region(match("milk"), match("milk"), frame=frame) for frame in range(4))
    comparison.add_cost(Cost(40.0, 2.0), Cost(0.0, 6.0))
    report = ShadowReport("a", "b", comparison.counts())
    text = shown(report)
    assert "active: 10.00 ms to embed a region, 0.50 ms to search" in text
    assert "shadow: 0.00 ms to embed a region, 1.50 ms to search" in text
    assert json.loads(report_json(ReportOfPair(report, None, None)))["cost_ms"]["active"] == {
        "embed": 10.0,
        "search": 0.5,
    }


def test_the_largest_changes_say_whether_they_are_exact() -> None:
    few = compared(region(match(f"a{n}"), UNKNOWN) for n in range(12))
    assert "Largest changes (exact, 2 more with --json)" in shown(ShadowReport("a", "b", few.counts()))
    many = compared(region(match(f"a{n}"), UNKNOWN) for n in range(MAX_FLOWS + 1))
    assert "Largest changes (each is wrong by at most 1," in shown(ShadowReport("a", "b", many.counts()))


def test_regions_that_were_all_dropped_are_reported_without_a_share() -> None:
    comparison = Comparison()
    comparison.dropped = 7
    text = shown(ShadowReport("a", "b", comparison.counts()))
    assert "Left out  100.0%: 7 dropped, 0 failed" in text
    assert "changed" not in text
