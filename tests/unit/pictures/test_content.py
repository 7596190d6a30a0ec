"""Content: how much there is to see in a picture."""

import numpy as np
import pytest

from framematch.pictures.content import content
from framematch.pictures.jpeg import read_jpeg
from tests.unit.pictures.samples import jpeg, photo, quarters


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (90, 140, 30)])
def test_one_colour_has_none_also_as_a_jpeg(colour: tuple[int, int, int]) -> None:
    picture = np.full((48, 64, 3), colour, np.uint8)
    assert content(picture) == 0
    assert content(read_jpeg(jpeg(picture), max_pixels=10_000).decode()) < 1


def test_a_dark_picture_with_a_spot_has_some() -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[20:28, 20:28] = 255, 0, 0
    assert content(picture) > 30


def test_two_colours_of_the_same_brightness_have_some() -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24] = 0, 100, 0
    picture[24:] = 196, 0, 0
    assert content(picture) > 40


def test_a_photo_has_much_and_black_and_white_most() -> None:
    assert content(photo()) > 30
    assert content(quarters()) == pytest.approx(127.5)


def test_a_part_of_a_picture_can_be_asked_for() -> None:
    assert content(quarters()[:20, :20]) == 0
