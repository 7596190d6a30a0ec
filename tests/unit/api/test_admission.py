"""What is in flight is bounded, and what is beyond is refused with the time after which there is room."""

import pytest
from prometheus_client import CollectorRegistry

from framematch.api.admission import Admission
from framematch.api.problems import Problem
from tests.unit.api.fake_services import admission_metrics


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def admission(clock: Clock, registry: CollectorRegistry) -> Admission:
    return Admission(
        pictures_max=4,
        body_bytes_max=100,
        metrics=admission_metrics(registry),
        clock=clock,
    )


def test_pictures_beyond_the_slots_are_refused_until_others_have_ended(admission: Admission) -> None:
    with admission.pictures(3):
        with pytest.raises(Problem) as refused, admission.pictures(2):
            pass
        assert (refused.value.status, refused.value.code) == (429, "full")
        with admission.pictures(1), pytest.raises(Problem):
            admission.check(pictures=True, body_bytes=0)
    with admission.pictures(4):
        admission.check(pictures=False, body_bytes=0)


def test_bytes_are_held_as_they_come_until_the_request_ends(admission: Admission, registry: CollectorRegistry) -> None:
    with admission.body() as add:
        add(60)
        admission.check(pictures=True, body_bytes=40)
        with pytest.raises(Problem, match="too many bytes"):
            admission.check(pictures=True, body_bytes=41)
        with admission.body() as another, pytest.raises(Problem):
            another(41)
        assert registry.get_sample_value("framematch_api_body_bytes_in_flight") == 60
    assert registry.get_sample_value("framematch_api_body_bytes_in_flight") == 0
    admission.check(pictures=True, body_bytes=100)


def test_a_slot_is_free_again_after_an_error(admission: Admission) -> None:
    with pytest.raises(ZeroDivisionError), admission.pictures(4):
        raise ZeroDivisionError
    with admission.pictures(4):
        pass


@pytest.mark.parametrize(("done", "retry_after"), [(0, "1"), (400, "1"), (4, "10"), (1, "40")])
def test_the_time_to_come_back_is_that_of_the_measured_rate(
    admission: Admission, clock: Clock, done: int, retry_after: str
) -> None:
    with admission.pictures(1):
        pass
    clock.now_s += 20  # is not measured any more
    for _ in range(done):
        with admission.pictures(1):
            pass
    clock.now_s += 10
    assert retry_after_full(admission) == retry_after


def test_a_pause_before_does_not_lower_the_measured_rate(admission: Admission, clock: Clock) -> None:
    clock.now_s += 20
    with admission.pictures(1):
        pass
    clock.now_s += 2
    assert retry_after_full(admission) == "8"


def retry_after_full(admission: Admission) -> str:
    """The time that is told while all four slots are held."""
    with admission.pictures(4), pytest.raises(Problem) as refused:
        admission.check(pictures=True, body_bytes=0)
    return refused.value.headers["Retry-After"]


def adaptive(clock: Clock, registry: CollectorRegistry) -> Admission:
    return Admission(pictures_max=64, body_bytes_max=1, metrics=admission_metrics(registry), target_s=5, clock=clock)


def slots(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("framematch_api_picture_slots")


def test_answers_in_time_make_room_for_more(clock: Clock, registry: CollectorRegistry) -> None:
    admission = adaptive(clock, registry)
    for expected in (48, 64, 64):
        with admission.pictures(16):
            clock.now_s += 4
        assert slots(registry) == expected


def test_answers_that_come_late_leave_room_for_fewer(clock: Clock, registry: CollectorRegistry) -> None:
    admission = adaptive(clock, registry)
    for waited_s, expected in ((6, 28.8), (6, 25.92), (6, 23.328)):
        with admission.pictures(2), admission.pictures(2):  # both are late, and count once
            clock.now_s += waited_s
        assert slots(registry) == pytest.approx(expected)
    for _ in range(100):
        with admission.pictures(1):
            clock.now_s += 6
    assert slots(registry) == 4


def test_a_request_that_failed_makes_no_room(clock: Clock, registry: CollectorRegistry) -> None:
    admission = adaptive(clock, registry)
    with pytest.raises(ZeroDivisionError), admission.pictures(1):
        raise ZeroDivisionError
    assert slots(registry) == 32


def test_a_request_with_many_pictures_gets_in_when_it_is_alone(clock: Clock, registry: CollectorRegistry) -> None:
    admission = adaptive(clock, registry)
    with admission.pictures(1), pytest.raises(Problem), admission.pictures(64):
        pass
    with admission.pictures(64):
        pass
