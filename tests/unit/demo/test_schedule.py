"""A schedule defines what every frame shows."""

import pytest

from demo.schedule import FeedSchedule, Photo, Segment, View, make_schedule

PHOTOS = [Photo(f"photos/{product}-{number}.jpg", f"p{product}") for product in range(60) for number in (1, 2)]
PLAN = FeedSchedule(camera=1, fps=15, seconds=2, segments=(Segment(10, 20, 3, PHOTOS[0]),))


def test_a_product_is_the_truth_only_while_it_is_fully_in_view() -> None:
    assert [frame for frame in range(PLAN.frames) if PLAN.truth(frame)] == [13, 14, 15, 16]


def test_frames_of_sliding_in_and_out_are_marked_as_moving() -> None:
    assert [frame for frame in range(PLAN.frames) if PLAN.view(frame) is View.MOVING] == [10, 11, 12, 17, 18, 19]


def test_a_frame_outside_every_segment_is_empty() -> None:
    assert {PLAN.view(frame) for frame in (0, 9, 20, 29)} == {View.EMPTY}


def test_the_same_arguments_give_the_same_schedule() -> None:
    assert make_schedule(PHOTOS, camera=2, seed=5) == make_schedule(PHOTOS, camera=2, seed=5)


def test_another_seed_gives_other_products() -> None:
    first, other = (
        [segment.photo.product for segment in make_schedule(PHOTOS, camera=1, seed=seed).segments] for seed in (0, 1)
    )
    assert first != other


@pytest.mark.parametrize("seed", range(20))
def test_cameras_of_one_seed_show_different_products(seed: int) -> None:
    seen = [
        segment.photo.product
        for camera in (1, 2, 3, 4)
        for segment in make_schedule(PHOTOS, camera=camera, seed=seed).segments
    ]
    assert len(seen) == len(set(seen)) > 4 * 6


@pytest.mark.parametrize("fps", [5, 15, 30])
def test_views_and_gaps_have_the_stated_lengths(fps: int) -> None:
    plan = make_schedule(PHOTOS, camera=3, seconds=60, fps=fps)
    frame_s = 1 / fps
    ends = [0, *(segment.stop for segment in plan.segments)]
    for end, segment in zip(ends, plan.segments, strict=False):
        hold = sum(plan.truth(frame) is not None for frame in range(segment.start, segment.stop))
        assert 2.0 - frame_s <= hold / fps <= 2.5 + frame_s
        assert 0.6 - frame_s <= (segment.start - end) / fps <= 1.0 + frame_s


def test_a_feed_starts_and_ends_empty_so_that_it_can_be_looped() -> None:
    plan = make_schedule(PHOTOS, camera=1, seconds=17)
    assert (plan.view(0), plan.view(plan.frames - 1)) == (View.EMPTY, View.EMPTY)


@pytest.mark.parametrize("wrong", [{"camera": 0}, {"camera": 1, "seconds": 0.0}, {"camera": 1, "fps": 0}])
def test_an_impossible_schedule_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a schedule needs"):
        make_schedule(PHOTOS, **wrong)


def test_a_schedule_without_photos_is_refused() -> None:
    with pytest.raises(ValueError, match="a schedule needs photos"):
        make_schedule([], camera=1)
