"""Conditions for a promotion: their grammar, and when they hold."""

import pytest

from framematch.core.errors import UsageError
from framematch.matching.shadow.condition import parse_condition
from tests.unit.matching.shadow_samples import report_of


def holds(text: str, **report: int) -> bool:
    return parse_condition(text).holds(report_of(**report))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ",", "changed", "changed<=", "<=2%", "changed=2%", "changed==2%", "changed<=2%,", "changed<=two",
        "changed<=-1%", "changed<=2%%", "changed <= 2 % or lost<=1%", "Changed<=2%", "changed<=1e-2", "changed<=.5",
        "changed<=\uff12%", "changed<=nan", "changed>=2%", "changed<=200%", "changed<=2", "dropped>10%", "regions<=5",
        "regions>=5%", "regions>=0.5", "regions>=-5", "score<=2%", "changed<=2%;regions>=5", "changed<=2%,,regions>=5",
    ],
)  # fmt: skip
def test_what_is_no_condition_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_condition(text)
    assert "\n" not in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize("text", ["changed<=2%", " changed <= 2% ", "changed<=0.02", "changed<2.5%,regions>=5000"])
def test_spaces_percentages_and_fractions_are_taken(text: str) -> None:
    assert holds(text, minutes=600)


def test_the_upper_end_of_the_interval_has_to_satisfy_it() -> None:
    # 6 of 600 minutes changed: 1.0 %, and at most 2.2 %.
    assert not holds("changed<=2%", minutes=600, changed=6)
    assert holds("changed<=2.5%", minutes=600, changed=6)


def test_too_few_data_hold_nothing_and_say_so() -> None:
    condition = parse_condition("changed<=100%")
    (reason,) = condition.unmet(report_of(29))
    assert reason == "changed<=100%: not enough yet, 29 camera-minutes of the 30 that are needed"
    assert condition.holds(report_of(30))


def test_each_part_that_does_not_hold_says_why() -> None:
    unmet = parse_condition("changed<=1%,lost<=50%,regions>=10000,dropped<=10%").unmet(
        report_of(600, changed=6, dropped=2_000)
    )
    assert unmet == (
        "changed<=1%: the share is 1.00%, with 95 % confidence at most 2.17%",
        "regions>=10000: there are 6,000",
        "dropped<=10%: the share is 25.00%",
    )


def test_nothing_compared_satisfies_no_part() -> None:
    for text in ("changed<=100%", "dropped<=100%", "regions>=1", "cameras>=1"):
        assert not holds(text, minutes=0)


def test_a_limit_may_be_reached_only_where_it_says_so() -> None:
    assert holds("regions>=300", minutes=30)
    assert not holds("regions>300", minutes=30)
    assert holds("dropped<=25%", minutes=30, dropped=100)
    assert not holds("dropped<25%", minutes=30, dropped=100)


def test_each_kind_of_change_has_its_own_share() -> None:
    assert holds("gained<=1%,replaced<=1%,lost<=15%", minutes=600, changed=60)
    assert not holds("lost<=10%", minutes=600, changed=60)
    assert not holds("unknown<=10%", minutes=600, changed=60)
