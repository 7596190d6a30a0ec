"""Masks are painted, and cover every pixel that they touch."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.worker.masks import hide, ignored
from framematch.core.arrays import Pixels
from framematch.core.settings import MaskSettings

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
MIDDLE = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))

shares = st.floats(0, 1)
triangles = st.tuples(*[st.tuples(shares, shares)] * 3)
sizes = st.tuples(st.integers(1, 80), st.integers(1, 80))


def white(width: int, height: int) -> Pixels:
    return np.full((height, width, 3), 255, np.uint8)


def test_a_hidden_area_is_black_and_the_rest_is_unchanged() -> None:
    painted = hide(white(64, 36), [MaskSettings(polygon=LEFT_HALF)])
    assert not painted[:, :32].any()
    assert (painted[:, 34:] == 255).all()


def test_the_original_picture_is_not_changed() -> None:
    picture = white(64, 36)
    hide(picture, [MaskSettings(polygon=MIDDLE)])
    assert (picture == 255).all()


def test_a_mask_that_does_not_hide_is_not_painted() -> None:
    picture = white(64, 36)
    assert hide(picture, [MaskSettings(polygon=MIDDLE, hide=False)]) is picture


def test_motion_is_ignored_in_a_mask_that_does_not_hide() -> None:
    area = ignored([MaskSettings(polygon=LEFT_HALF, hide=False)], (64, 36))
    assert (area[:, :32] == 255).all()
    assert not area[:, 34:].any()


def test_the_area_that_two_masks_share_is_masked() -> None:
    masks = [MaskSettings(polygon=LEFT_HALF), MaskSettings(polygon=MIDDLE)]
    assert not hide(white(64, 36), masks)[9:27, :48].any()
    assert (ignored(masks, (64, 36))[9:27, :48] == 255).all()


@settings(deadline=None)
@given(triangle=triangles, size=sizes, inside=st.tuples(shares, shares))
def test_each_pixel_that_a_polygon_touches_is_hidden(
    triangle: tuple[tuple[float, float], ...], size: tuple[int, int], inside: tuple[float, float]
) -> None:
    cuts = [0.0, *sorted(inside), 1.0]
    weights = [after - before for before, after in pairwise(cuts)]
    point = np.array(weights) @ np.array(triangle) * size
    column, row = np.minimum(point.astype(int), np.array(size) - 1)
    assert not hide(white(*size), [MaskSettings(polygon=triangle)])[row, column].any()
