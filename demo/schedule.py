"""The schedule of a camera feed: which photo is in view in which frame, so that the truth is known for each frame."""

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

# Seconds, drawn uniformly from the range for each product.
GAP_S = (0.6, 1.0)
HOLD_S = (2.0, 2.5)
SLIDE_S = 0.34  # to enter, and again to leave


class View(StrEnum):
    """What a frame shows."""

    EMPTY = "empty"
    MOVING = "moving"  # partly in view, so neither the product nor an empty view is right
    SHOWN = "shown"


@dataclass(frozen=True)
class Photo:
    """A photo of a product; `file` is relative to the data folder."""

    file: str
    product: str


@dataclass(frozen=True)
class Segment:
    """Frames [start, stop) that show `photo`; only part of it in the first and last `slide` frames."""

    start: int
    stop: int
    slide: int
    photo: Photo

    def view(self, frame: int) -> View:
        """MOVING while the photo enters or leaves, SHOWN in between, EMPTY outside the segment."""
        if not self.start <= frame < self.stop:
            return View.EMPTY
        return View.SHOWN if self.start + self.slide <= frame < self.stop - self.slide else View.MOVING


@dataclass(frozen=True)
class FeedSchedule:
    """One camera's feed. `segments` are in order and do not overlap; frames count from 0."""

    camera: int
    fps: int
    seconds: float
    segments: tuple[Segment, ...]

    @property
    def frames(self) -> int:
        """Length of the feed in frames."""
        return round(self.seconds * self.fps)

    def segment(self, frame: int) -> Segment | None:
        """The segment that contains `frame`, or None in a gap."""
        at = bisect_right(self.segments, frame, key=lambda segment: segment.start) - 1
        found = self.segments[at] if at >= 0 else None
        return found if found and frame < found.stop else None

    def view(self, frame: int) -> View:
        """What `frame` shows; a verdict ignores MOVING frames."""
        segment = self.segment(frame)
        return segment.view(frame) if segment else View.EMPTY

    def truth(self, frame: int) -> str | None:
        """The product that is fully in view, or None; `view` distinguishes empty frames from moving ones."""
        segment = self.segment(frame)
        return segment.photo.product if segment and segment.view(frame) is View.SHOWN else None


def make_schedule(
    photos: Sequence[Photo], *, camera: int, seconds: float = 30.0, fps: int = 15, seed: int = 0
) -> FeedSchedule:
    """Create the schedule of `camera` (1, 2, …); the same arguments give the same schedule.

    Cameras of one seed start at different positions of one shuffled list of products, so that they show different
    products as long as there are enough. A feed ends in a gap, so it can be looped.

    Raises:
        ValueError: there are no photos, or a camera, length or rate below one.
    """
    if not photos or camera < 1 or fps < 1 or seconds * fps < 1:
        raise ValueError("a schedule needs photos, a camera from 1 on, a length and a frame rate")
    by_product: dict[str, list[Photo]] = {}
    for photo in photos:
        by_product.setdefault(photo.product, []).append(photo)
    products = sorted(by_product)
    random.Random(f"products {seed}").shuffle(products)  # noqa: S311  # no secret
    rng = random.Random(f"camera {camera} of {seed}")  # noqa: S311  # likewise

    frames, slide = round(seconds * fps), max(1, round(SLIDE_S * fps))
    max_products = int(seconds / (GAP_S[0] + HOLD_S[0] + 2 * SLIDE_S)) + 1
    segments: list[Segment] = []
    at = _frames(rng, GAP_S, fps)
    while True:
        product = products[((camera - 1) * max_products + len(segments)) % len(products)]
        segment = Segment(at, at + _frames(rng, HOLD_S, fps) + 2 * slide, slide, rng.choice(by_product[product]))
        at = segment.stop + _frames(rng, GAP_S, fps)
        if at > frames:
            return FeedSchedule(camera, fps, seconds, tuple(segments))
        segments.append(segment)


def _frames(rng: random.Random, range_s: tuple[float, float], fps: int) -> int:
    return max(1, round(rng.uniform(*range_s) * fps))
