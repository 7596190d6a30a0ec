"""Drops are logged at most once a second, and none is left out of the sums."""

from structlog.testing import capture_logs

from edge.outbox.context import DropLog


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_the_first_drop_is_logged_at_once() -> None:
    with capture_logs() as lines:
        DropLog(clock=Clock()).add("till-1", "refused", "E")
    assert [(line["event"], line["camera"], line["count"]) for line in lines] == [("frames_dropped", "till-1", 1)]


def test_what_follows_within_a_second_is_added_up() -> None:
    clock = Clock()
    drops = DropLog(clock=clock)
    with capture_logs() as lines:
        for hundredth in range(150):
            clock.now_s = hundredth / 100
            drops.add("till-1", "refused", "E")
        drops.flush()
    assert [line["count"] for line in lines] == [1, 100, 49]


def test_cameras_and_reasons_have_lines_of_their_own() -> None:
    drops = DropLog(clock=Clock())
    with capture_logs() as lines:
        drops.add("till-1", "refused", "E")
        drops.add("till-2", "refused", "E")
        drops.add("till-2", "too_large", "F")
        drops.flush()
    assert {(line["camera"], line["reason"], line["count"]) for line in lines} == {
        ("till-1", "refused", 1),
        ("till-2", "refused", 1),
        ("till-2", "too_large", 1),
    }
