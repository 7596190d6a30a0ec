"""Which frames `--since` and `--until` name."""

import pytest

from consumers.replay.time_range import TimeRange, parse_range
from framematch.core.errors import UsageError
from framematch.core.timestamps import from_rfc3339

NOW_US = from_rfc3339("2026-01-31T12:00:00Z")
S_US = 1_000_000


@pytest.mark.parametrize(
    ("text", "ago_s"), [("90s", 90), ("10m", 600), ("1.5h", 5_400), ("2d", 172_800), ("2026-01-31T12:59:00+01:00", 60)]
)
def test_a_time_is_a_duration_ago_or_rfc_3339(text: str, ago_s: int) -> None:
    assert parse_range(text, None, NOW_US) == TimeRange(NOW_US - ago_s * S_US, NOW_US)


def test_the_range_ends_now_at_the_latest() -> None:
    assert parse_range("20m", "2026-01-31T18:00:00Z", NOW_US).until_us == NOW_US


@pytest.mark.parametrize(
    ("since", "until", "says"),
    [
        ("yesterday", None, "--since 'yesterday' is no time"),
        ("10", None, "--since '10' is no time"),
        ("-10m", None, "is no time"),
        ("10m", "soon", "--until 'soon' is no time"),
        ("10m", "20m", "--until 20m is not after --since 10m"),
        ("10m", "10m", "--until 10m is not after --since 10m"),
        ("0s", None, "--since 0s is in the future"),
        ("2027-01-01T00:00:00Z", None, "--since 2027-01-01T00:00:00Z is in the future"),
        ("1969-12-31T23:59:59Z", None, "is before 1970"),
        ("999999d", None, "is before 1970"),
    ],
)
def test_what_names_no_range_is_refused_in_one_line(since: str, until: str | None, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_range(since, until, NOW_US)
    assert says in refused.value.message
    assert refused.value.hint


def test_a_range_has_its_start_and_not_its_end() -> None:
    wanted = TimeRange(NOW_US, NOW_US + S_US)
    start_ms = NOW_US // 1_000
    assert [wanted.contains_ms(start_ms + ms) for ms in (-1, 0, 999, 1_000)] == [False, True, True, False]
