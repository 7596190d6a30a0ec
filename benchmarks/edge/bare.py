"""The reference for the edge's CPU time, `cv2.VideoCapture` and nothing else: `python -m benchmarks.edge.bare URL N`.

It grabs every frame and converts every Nth, as the edge's sampler would; it scales, encodes and sends nothing.
Transport, timeouts and the decoder's single thread are the edge's. It reads until the stream ends, which is an error.
"""

import sys

import cv2

from framematch.core.settings import EdgeSettings
from framematch.core.units import MS_PER_S


def main(url: str, every: int) -> str:
    """Read the stream; returns why it ended."""
    settings = EdgeSettings()
    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(
        url,
        cv2.CAP_FFMPEG,
        [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(settings.open_timeout_s * MS_PER_S)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(settings.read_timeout_s * MS_PER_S)),
            *(cv2.CAP_PROP_N_THREADS, 1),
        ],
    )
    number = 0
    while capture.grab():
        if number % every == 0:
            capture.retrieve()
        number += 1
    return f"the stream ended after {number} frames"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
