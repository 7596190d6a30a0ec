"""Regions lie inside the picture, whatever is wanted for; boxes around motion hold what moved."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.worker.regions import around, regions_of
from framematch.core.settings import Box, RegionSettings

SIZE = (640, 360)
ROUNDING = 1e-9  # of sums of shares


def _box(ends: tuple[float, float, float, float]) -> Box:
    x, y, right, bottom = min(ends[0], ends[2]), min(ends[1], ends[3]), max(ends[0], ends[2]), max(ends[1], ends[3])
    return x, y, right - x, bottom - y


shares = st.floats(0, 1)
boxes = st.tuples(shares, shares, shares, shares).map(_box).filter(lambda box: box[2] > 0 and box[3] > 0)
sizes = st.tuples(st.integers(1, 2000), st.integers(1, 2000))
motion = st.builds(
    RegionSettings, mode=st.just("motion"), pad=st.floats(0, 1), min_side=st.floats(0.001, 1), most=st.integers(1, 64)
)


def test_without_a_mode_there_are_no_regions() -> None:
    assert regions_of(RegionSettings(), ((0.1, 0.1, 0.2, 0.2),), SIZE) == ()


def test_a_still_scene_has_no_region_of_motion() -> None:
    assert regions_of(RegionSettings(mode="motion"), (), SIZE) == ()


def test_boxes_are_shares_of_the_picture() -> None:
    wanted = RegionSettings(mode="boxes", boxes=((0.25, 0.5, 0.5, 0.25), (0, 0, 1, 1)))
    assert regions_of(wanted, (), SIZE) == ((160, 180, 320, 90), (0, 0, 640, 360))


def test_regions_of_motion_keep_the_order_of_their_boxes() -> None:
    moved = ((0.5, 0.5, 0.5, 0.5), (0.0, 0.0, 0.25, 0.25))
    assert regions_of(RegionSettings(mode="motion"), moved, SIZE) == ((320, 180, 320, 180), (0, 0, 160, 90))


def test_boxes_that_are_the_same_pixels_are_one_region() -> None:
    wanted = RegionSettings(mode="boxes", boxes=((0.25, 0.5, 0.5, 0.25), (0.2501, 0.5, 0.5, 0.25)))
    assert len(regions_of(wanted, (), SIZE)) == 1


@settings(deadline=None)
@given(found=st.lists(boxes, min_size=1, max_size=10), size=sizes)
def test_each_region_has_pixels_and_all_of_them_are_in_the_picture(found: list[Box], size: tuple[int, int]) -> None:
    regions = regions_of(RegionSettings(mode="motion"), found, size)
    assert regions
    for x, y, width, height in regions:
        assert min(x, y) >= 0
        assert min(width, height) >= 1
        assert x + width <= size[0]
        assert y + height <= size[1]


@settings(deadline=None)
@given(columns=st.integers(1, 16), rows=st.integers(1, 16), size=st.tuples(st.integers(1, 300), st.integers(1, 300)))
def test_a_grid_has_each_pixel_in_one_cell(columns: int, rows: int, size: tuple[int, int]) -> None:
    covered = np.zeros((size[1], size[0]), int)
    for x, y, width, height in regions_of(RegionSettings(mode="grid", columns=columns, rows=rows), (), size):
        covered[y : y + height, x : x + width] += 1
    assert (covered == 1).all()


def test_a_grid_has_the_configured_number_of_cells() -> None:
    assert len(regions_of(RegionSettings(mode="grid", columns=3, rows=5), (), SIZE)) == 15


@settings(deadline=None)
@given(blobs=st.lists(boxes, max_size=20), wanted=motion)
def test_boxes_around_motion_are_in_the_picture_and_do_not_overlap(blobs: list[Box], wanted: RegionSettings) -> None:
    found = around(blobs, wanted)
    for x, y, width, height in found:
        assert min(x, y) >= 0
        assert max(x + width, y + height) <= 1 + ROUNDING
        assert min(width, height) >= wanted.min_side - ROUNDING
    for one, other in combinations(found, 2):
        assert _shared(one, other) <= ROUNDING


@settings(deadline=None)
@given(blobs=st.lists(boxes, max_size=20), wanted=motion)
def test_boxes_around_motion_are_largest_first_and_limited_in_number(blobs: list[Box], wanted: RegionSettings) -> None:
    areas = [box[2] * box[3] for box in around(blobs, wanted)]
    assert len(areas) <= wanted.most
    assert all(one >= other for one, other in pairwise(areas))


@settings(deadline=None)
@given(blobs=st.lists(boxes, max_size=20))
def test_each_blob_is_inside_one_of_the_boxes(blobs: list[Box]) -> None:
    found = around(blobs, RegionSettings(mode="motion", most=64))
    for blob in blobs:
        assert any(_shared(blob, box) >= blob[2] * blob[3] - ROUNDING for box in found)


def test_parts_that_nearly_touch_are_one_box() -> None:
    blobs = [(0.2, 0.2, 0.1, 0.3), (0.31, 0.2, 0.1, 0.3), (0.8, 0.8, 0.1, 0.1)]
    assert len(around(blobs, RegionSettings(mode="motion", pad=0))) == 2


def test_a_box_is_padded_by_a_share_of_its_own_size() -> None:
    (found,) = around([(0.4, 0.4, 0.2, 0.1)], RegionSettings(mode="motion", pad=0.5))
    assert found == pytest.approx((0.3, 0.35, 0.4, 0.2))


def test_a_small_box_at_the_border_grows_into_the_picture() -> None:
    wanted = RegionSettings(mode="motion", pad=0, min_side=0.25)
    (found,) = around([(0.99, 0.0, 0.01, 0.01)], wanted)
    assert found == pytest.approx((0.75, 0.0, 0.25, 0.25))


def _shared(one: Box, other: Box) -> float:
    sides = [
        min(one[axis] + one[axis + 2], other[axis] + other[axis + 2]) - max(one[axis], other[axis]) for axis in (0, 1)
    ]
    return max(0.0, sides[0]) * max(0.0, sides[1])
