"""The built-in pictures for testing a model."""

import numpy as np

from framematch.model_build.checks.samples import sample_pictures


def test_samples_are_the_same_every_time() -> None:
    first, second = sample_pictures(), sample_pictures()
    assert list(first) == list(second)
    for name, picture in first.items():
        np.testing.assert_array_equal(picture, second[name])


def test_samples_are_rgb_bytes_of_several_sizes_and_none_is_flat() -> None:
    pictures = sample_pictures().values()
    assert all(picture.dtype == np.uint8 and picture.shape[2] == 3 for picture in pictures)
    assert len({picture.shape for picture in pictures}) >= 5
    assert min(picture.std() for picture in pictures) > 10
