"""What scaling a picture costs, and what it changes in the embeddings.

Times are of one core. Cosines are the lowest of some pictures, to embeddings of pixels that are scaled as the reference
CLIP processor does it; or, with a file of reference embeddings, to those of its pictures.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Figure
from benchmarks.scaling import Pixels, Scale, other_ways, product_ways, reference_pixels
from framematch.catalog.images import decode_rgb
from framematch.model_build.bundles.bundle import Bundle, load_bundle
from framematch.model_build.checks.conformance import cosines
from framematch.model_build.checks.reference import read_reference, rows_of
from framematch.model_build.graphs.towers import fold_towers
from framematch.model_build.onnx_session import OnnxSession, embed_pictures
from framematch.vision.manifest import IMAGE_MODEL
from framematch.vision.preprocess_spec import PreprocessSpec

SIZES = ((256, 256), (640, 360), (1920, 1080), (2400, 1800))
USUAL_SIZE = (640, 360)  # what the edge sends of a wide camera by default
_GROUPS = 5
_MS_PER_S = 1_000


@dataclass(frozen=True)
class Way:
    """One way to scale: its cost by size (width, height), in ms, and its lowest cosine to the reference."""

    name: str
    cost_ms: Mapping[tuple[int, int], Figure]
    cosine: float


@dataclass(frozen=True)
class Subject:
    """Pictures, and what their embeddings should be: `reference` is [N, D]."""

    spec: PreprocessSpec
    embed: Callable[[Pixels], NDArray[np.float32]]
    pictures: Sequence[Pixels]
    reference: NDArray[np.floating]

    def lowest_cosine(self, scale: Scale) -> float:
        """Of the pictures as `scale` makes them."""
        return float(cosines(self.embed(np.stack([scale(picture) for picture in self.pictures])), self.reference).min())


def subject_of(bundle: Bundle, pictures: Sequence[Pixels]) -> Subject:
    """The bundle's own embeddings of pixels that were scaled as the reference does it."""
    session = OnnxSession(fold_towers(bundle)[IMAGE_MODEL].graph)
    scaled = np.stack([reference_pixels(picture, bundle.preprocess) for picture in pictures])

    def embed(pixels: Pixels) -> NDArray[np.float32]:
        return embed_pictures(session, pixels)

    return Subject(bundle.preprocess, embed, pictures, embed(scaled))


def subject_in(expected: Path) -> Subject:
    """Reference embeddings in a file, with the bundle that they are of and the folder `images` beside it.

    Raises:
        ModelError: one of them cannot be used.
    """
    reference = read_reference(expected)
    pictures = [decode_rgb((expected.parent / "images" / name).read_bytes()) for name in reference.images]
    subject = subject_of(load_bundle(expected.parent), pictures)
    return replace(subject, reference=rows_of(reference.images.values()))


def measure_ways(
    subject: Subject, *, photo: Pixels, spec: PreprocessSpec, seconds: float, product_alone: bool
) -> list[Way]:
    """The cost of each way for `photo` in every size and for `spec`, `seconds` each; the cosine is the subject's."""
    pictures = {size: cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8) for size in SIZES}

    def ways(of: PreprocessSpec) -> dict[str, Scale]:
        return product_ways(of) | ({} if product_alone else other_ways(of))

    with _one_thread():
        return [
            Way(
                name,
                {size: Figure.of(_times_ms(scale, picture, seconds), "ms") for size, picture in pictures.items()},
                subject.lowest_cosine(of_subject),
            )
            for (name, scale), of_subject in zip(ways(spec).items(), ways(subject.spec).values(), strict=True)
        ]


def _times_ms(scale: Scale, picture: Pixels, seconds: float) -> list[float]:
    """Of single calls, in groups that each give their median: one slow call says nothing."""
    scale(picture)
    return [median(_calls_ms(scale, picture, seconds / _GROUPS)) for _ in range(_GROUPS)]


def _calls_ms(scale: Scale, picture: Pixels, seconds: float) -> Iterator[float]:
    end = time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        scale(picture)
        now = time.perf_counter()
        yield (now - began) * _MS_PER_S
        if now >= end:
            return


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV on one core, as Pillow is."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
