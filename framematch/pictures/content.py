"""How much there is to see in a picture."""

import cv2

from framematch.core.arrays import Pixels


def content(pixels: Pixels) -> float:
    """How much the pixels of a picture differ: the standard deviation of the channel that varies most, 0 to 127.5.

    `pixels` is uint8 [h, w, 3]. A picture of one colour has 0, and stays below about 1 after it was a JPEG; photos of
    products on white have 20 and more.
    """
    _, deviations = cv2.meanStdDev(pixels)
    return float(deviations.max())
