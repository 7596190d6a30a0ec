"""Which pictures look like one that went through the model."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from consumers.stages.scene_cache import MAX_DIFFERENCE, StaticSceneCache, difference, signature_of

Pixels = npt.NDArray[np.uint8]

BOX = (0, 0, 64, 64)
SECOND_US = 1_000_000
SCENE = np.random.default_rng(1).integers(60, 190, (64, 64, 3), dtype=np.uint8)


class Camera:
    """One camera's pictures, one after the other; the entry of each is its number, from 0."""

    def __init__(self, *, max_age_s: float = 2.0, interval_us: int = SECOND_US // 5) -> None:
        self._cache: StaticSceneCache[int] = StaticSceneCache(max_age_s=max_age_s)
        self._interval_us = interval_us
        self._seen = 0

    def shows(self, picture: Pixels) -> int | None:
        number, self._seen = self._seen, self._seen + 1
        return self._cache.lookup("till-1", BOX, signature_of(picture), number * self._interval_us, number)


def brighter(levels: int) -> Pixels:
    return SCENE + np.uint8(levels)


def level(value: int) -> Pixels:
    """A signature of one grey level."""
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
    cache: StaticSceneCache[str] = StaticSceneCache(max_age_s=2.0)
    assert cache.lookup("till-1", BOX, level(9), 10 * SECOND_US, "inferred") is None
    assert cache.lookup("till-1", BOX, level(9), 9 * SECOND_US, "overtaken") == "inferred"
    assert cache.lookup("till-1", BOX, level(9), 1 * SECOND_US, "replayed") is None


def test_cameras_and_boxes_have_entries_of_their_own() -> None:
    cache: StaticSceneCache[int] = StaticSceneCache(max_age_s=2.0)
    places = [("till-1", BOX), ("till-2", BOX), ("till-1", (64, 0, 64, 64))]
    assert [cache.lookup(*place, level(9), 0, entry) for entry, place in enumerate(places)] == [None] * 3
    assert [cache.lookup(*place, level(9), 1, 9) for place in places] == [0, 1, 2]


def test_after_an_invalidation_the_next_picture_goes_through_the_model() -> None:
    cache: StaticSceneCache[int] = StaticSceneCache(max_age_s=2.0)
    cache.lookup("till-1", BOX, level(9), 0, 0)
    cache.lookup("till-2", BOX, level(9), 0, 0)
    cache.invalidate("till-1", BOX)
    assert cache.lookup("till-1", BOX, level(9), 1, 1) is None
    assert cache.lookup("till-2", BOX, level(9), 1, 1) == 0


def test_no_more_boxes_are_remembered_than_allowed_and_those_seen_last_stay() -> None:
    cache: StaticSceneCache[int] = StaticSceneCache(max_age_s=2.0, max_boxes=2)
    for camera in ("till-1", "till-2", "till-1", "till-3"):
        cache.lookup(camera, BOX, level(9), 0, 0)
    assert cache.lookup("till-1", BOX, level(9), 0, 1) == 0
    assert cache.lookup("till-2", BOX, level(9), 0, 1) is None


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(-SECOND_US, 3 * SECOND_US)), max_size=40))
def test_a_picture_is_a_hit_exactly_when_it_is_similar_and_near_in_time(
    steps: list[tuple[int, int]],
) -> None:
    cache: StaticSceneCache[int] = StaticSceneCache(max_age_s=2.0)
    pictures: list[tuple[Pixels, int]] = []
    last: int | None = None
    at_us = 0
    for number, (value, passed_us) in enumerate(steps):
        at_us += passed_us
        pictures.append((level(value), at_us))
        near = (
            last is not None
            and difference(level(value), pictures[last][0]) <= MAX_DIFFERENCE
            and abs(at_us - pictures[last][1]) <= 2 * SECOND_US
        )
        assert cache.lookup("till-1", BOX, level(value), at_us, number) == (last if near else None)
        last = last if near else number
