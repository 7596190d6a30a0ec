"""Dropped frames are logged at most once a second, and all are counted."""

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


def test_later_drops_within_a_second_are_summed() -> None:
    clock = Clock()
    drops = DropLog(clock=clock)
    with capture_logs() as lines:
        for hundredth in range(150):
            clock.now_s = hundredth / 100
            drops.add("till-1", "refused", "E")
        drops.flush()
    assert [line["count"] for line in lines] == [1, 100, 49]


def test_each_camera_and_reason_has_its_own_line() -> None:
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
