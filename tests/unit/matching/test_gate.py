"""The same picture has the same reason however it comes: by a file, by the API, or in the stream."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from consumers.in_flight_frame import Decided, InFlightFrame
from consumers.stages.prepare import AgeLimits, Preparer
from framematch.core.frames import Frame, frame_headers
from framematch.core.settings import AgeSettings, MatchingSettings
from framematch.core.timestamps import now_us
from framematch.matching.gate import PictureGate
from framematch.matching.match_pictures import Picture, prepare_picture
from framematch.vision.content import content_of
from framematch.vision.manifest import PreprocessSpec
from framematch.vision.preprocess import Preprocessor
from tests.unit.consumers.sample_frames import make_served, record

GATE = PictureGate.of(MatchingSettings())
SPEC = PreprocessSpec(224, 224, 224, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
PHOTOS = Path(__file__).parents[3] / "demo" / "data" / "photos"
PHOTO = max(map(Image.open, sorted(PHOTOS.rglob("*-1.jpg"))), key=lambda photo: content_of(np.asarray(photo)))


def noisy(picture: Image.Image, noise: float) -> Image.Image:
    width, height = picture.size
    values = np.asarray(picture) + np.random.default_rng(0).normal(0, noise, (height, width, 3))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


PICTURES = {
    "good": (PHOTO, None),
    "dark": (noisy(PHOTO.point(lambda level: level * 0.08), 1), "quality"),
    "blurred": (PHOTO.filter(ImageFilter.GaussianBlur(PHOTO.width / 20)), "quality"),
    "tiny": (PHOTO.resize((16, 16)), "quality"),
    "noise": (noisy(Image.new("RGB", (320, 240), (90, 90, 90)), 25), "no_content"),
    "white": (Image.new("RGB", (320, 240), "white"), "no_content"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_file_and_stream_agree_on_the_reason(name: str) -> None:
    picture, reason = PICTURES[name]
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    preprocessor = Preprocessor(SPEC, "fast")
    [by_file] = prepare_picture(Picture(buffer.getvalue()), preprocessor).measured
    decision = GATE.decide(by_file)
    assert (decision and decision.reason) == reason
    headers = [*frame_headers(Frame("till-1", now_us(), 1))]
    frame = InFlightFrame(record(0, value=buffer.getvalue(), headers=headers), "till-1", 0)
    preparer = Preparer(AgeLimits(AgeSettings(), {}), max_pixels=10**6, max_regions=1, gate=GATE)
    preparer.prepare(frame, make_served(preprocessor=preprocessor))
    assert frame.qualities[0] == pytest.approx(by_file.quality, abs=0.02)
    in_stream = frame.outcome.decisions[0].reason if isinstance(frame.outcome, Decided) else None
    assert in_stream == reason


def test_without_limits_the_model_is_always_asked() -> None:
    for picture, _ in PICTURES.values():
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG")
        [measured] = prepare_picture(Picture(buffer.getvalue()), Preprocessor(SPEC, "fast")).measured
        assert PictureGate(0, 0).decide(measured) is None
