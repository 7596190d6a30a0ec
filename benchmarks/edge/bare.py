"""The reference for the edge's CPU time: `cv2.VideoCapture` and nothing else: `python -m benchmarks.edge.bare URL`.

It grabs every frame and converts every Nth, as the edge's sampler would; it scales, encodes and sends nothing.
Transport, timeouts and the decoder's single thread are the edge's.
"""

import argparse
import sys

import cv2

from framematch.core.settings import EdgeSettings

_MS_PER_S = 1_000


def main() -> int:
    """Read until the stream ends, which is exit code 1."""
    parser = argparse.ArgumentParser(description="Read a stream with cv2.VideoCapture alone.")
    parser.add_argument("url")
    parser.add_argument("--every", type=int, required=True, help="convert one of so many frames")
    arguments = parser.parse_args()
    settings = EdgeSettings()
    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(
        arguments.url,
        cv2.CAP_FFMPEG,
        [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(settings.open_timeout_s * _MS_PER_S)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(settings.read_timeout_s * _MS_PER_S)),
            *(cv2.CAP_PROP_N_THREADS, 1),
        ],
    )
    number = 0
    while capture.grab():
        if number % arguments.every == 0:
            capture.retrieve()
        number += 1
    print(f"the stream ended after {number} frames", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
