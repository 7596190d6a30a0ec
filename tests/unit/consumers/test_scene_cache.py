"""Which pictures look like one that went through the model."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from consumers.in_flight_frame import Decided, InFlightFrame
from consumers.stages.scene_cache import MAX_DIFFERENCE, StaticSceneCache, difference
from framematch.core.frames import Frame, Region
from tests.unit.consumers.sample_frames import UNKNOWN, record

Pixels = npt.NDArray[np.uint8]

BOX = (0, 0, 64, 64)
SECOND_US = 1_000_000
SCENE = np.random.default_rng(1).integers(60, 190, (64, 64, 3), dtype=np.uint8)


class Cache:
    """A cache whose misses are decided at once; pictures are numbered from 0."""

    def __init__(self, *, max_age_s: float = 2.0, max_entries: int = 9) -> None:
        self._cache = StaticSceneCache(max_age_s=max_age_s, max_entries=max_entries)
        self._numbers: dict[str, int] = {}

    def show(self, picture: Pixels, at_us: int, camera: str = "till-1", box: Region = BOX) -> int | None:
        """The number of the picture whose decision this one reuses; None when it goes through the model."""
        number = len(self._numbers)
        header = Frame(camera, 100 * SECOND_US + at_us, number)
        self._numbers[header.id] = number
        frame = InFlightFrame(record(number), camera, 0, header, (box,), (picture,))
        misses = self._cache.lookup(frame)
        for region in misses:
            frame.decide(region.number, UNKNOWN)
        self._cache.resolve(misses)
        assert isinstance(frame.outcome, Decided)
        assert bool(misses) != bool(frame.outcome.reused_from)
        return None if misses else self._numbers[frame.outcome.reused_from[0]]


class Camera:
    """One camera's pictures at a fixed interval."""

    def __init__(self, *, max_age_s: float = 2.0, interval_us: int = SECOND_US // 5) -> None:
        self._cache = Cache(max_age_s=max_age_s)
        self._interval_us = interval_us
        self._at_us = 0

    def shows(self, picture: Pixels) -> int | None:
        self._at_us += self._interval_us
        return self._cache.show(picture, self._at_us)


def brighter(levels: int) -> Pixels:
    return SCENE + np.uint8(levels)


def level(value: int) -> Pixels:
    """A picture of one grey level, which is its own signature."""
    return np.full((16, 16, 3), value, np.uint8)


def test_the_first_picture_goes_through_the_model_and_the_next_of_the_same_scene_is_a_hit() -> None:
    camera = Camera()
    assert [camera.shows(SCENE) for _ in range(3)] == [None, 0, 0]


def test_a_camera_s_noise_is_no_change() -> None:
    rng = np.random.default_rng(2)
    camera = Camera()
    noisy = [np.clip(SCENE + rng.normal(0, 4, SCENE.shape), 0, 255).astype(np.uint8) for _ in range(10)]
    assert [camera.shows(picture) for picture in noisy] == [None] + [0] * 9


def test_a_small_thing_that_appears_is_seen() -> None:
    changed = SCENE.copy()
    changed[10:16, 30:36] = 255
    camera = Camera()
    assert [camera.shows(picture) for picture in (SCENE, changed, changed)] == [None, None, 1]


def test_a_change_of_colour_alone_is_seen() -> None:
    changed = SCENE.copy()
    changed[..., 0] += 20
    changed[..., 2] -= 20
    camera = Camera()
    assert [camera.shows(picture) for picture in (SCENE, changed)] == [None, None]


def test_a_drift_that_no_two_successive_pictures_show_adds_up() -> None:
    camera = Camera(max_age_s=60)
    repeated = [camera.shows(brighter(levels)) for levels in range(MAX_DIFFERENCE + 3)]
    assert repeated == [None] + [0] * MAX_DIFFERENCE + [None, MAX_DIFFERENCE + 1]


def test_a_static_scene_goes_through_the_model_again_when_its_decision_is_too_old() -> None:
    camera = Camera(max_age_s=2.0, interval_us=SECOND_US)
    assert [camera.shows(SCENE) for _ in range(7)] == [None, 0, 0, None, 3, 3, None]


def test_a_picture_captured_before_the_inferred_one_is_a_hit_too_unless_it_is_much_older() -> None:
    cache = Cache()
    assert [cache.show(level(9), seconds * SECOND_US) for seconds in (10, 9, 1)] == [None, 0, None]


def test_cameras_and_boxes_have_entries_of_their_own() -> None:
    cache = Cache()
    places = [("till-1", BOX), ("till-2", BOX), ("till-1", (64, 0, 64, 64))]
    assert [cache.show(level(9), 0, *place) for place in places] == [None] * 3
    assert [cache.show(level(9), 1, *place) for place in places] == [0, 1, 2]


def test_no_more_entries_are_kept_than_allowed_and_those_used_last_stay() -> None:
    cache = Cache(max_entries=2)
    for camera in ("till-1", "till-2", "till-1", "till-3"):
        cache.show(level(9), 0, camera)
    assert cache.show(level(9), 0, "till-1") == 0
    assert cache.show(level(9), 0, "till-2") is None


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(-SECOND_US, 3 * SECOND_US)), max_size=40))
def test_a_picture_is_a_hit_exactly_when_it_is_similar_and_near_in_time(steps: list[tuple[int, int]]) -> None:
    cache = Cache()
    pictures: list[tuple[Pixels, int]] = []
    last: int | None = None
    at_us = 0
    for number, (value, passed_us) in enumerate(steps):
        at_us += passed_us
        pictures.append((level(value), at_us))
        hit = (
            last is not None
            and difference(level(value), pictures[last][0]) <= MAX_DIFFERENCE
            and abs(at_us - pictures[last][1]) <= 2 * SECOND_US
        )
        assert cache.show(level(value), at_us) == (last if hit else None)
        last = last if hit else number
