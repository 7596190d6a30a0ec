"""Which snapshots fit the way in which a served model decodes and prepares JPEGs."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from framematch.core.errors import ModelMismatchError
from framematch.vision.jpeg_encoder import JpegEncoder
from framematch.vision.manifest import ModelManifest, PreprocessSpec
from framematch.vision.preprocess import Preprocessor
from framematch.vision.region_rows import CLIENT_DECODER, JpegManifest
from framematch.vision.triton import TritonModel

SPEC = PreprocessSpec(2, 2, 2, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
MANIFEST = ModelManifest("small", "ab" * 32, 4, SPEC, None, None, max_batch_size=8)
FAST, EXACT = (Preprocessor(SPEC, variant).digest for variant in ("fast", "exact"))


def encoder(decoder: str) -> JpegEncoder:
    config: Any = (MANIFEST, frozenset({"pixels"}))
    model = TritonModel(None, "triton:8001", "clip_image", config, 1.0)
    return JpegEncoder(model, model, model, JpegManifest(decoder, "fast", FAST, 1))


def test_the_client_s_decoder_fits_snapshots_of_its_preprocessing_alone() -> None:
    with capture_logs() as logs:
        encoder(CLIENT_DECODER).require_preprocessing(FAST)
    assert logs == []
    with pytest.raises(ModelMismatchError, match="as fast"):
        encoder(CLIENT_DECODER).require_preprocessing(EXACT)


def test_another_decoder_before_the_same_preprocessing_is_said_in_the_log() -> None:
    with capture_logs() as logs:
        encoder("nvimagecodec-1").require_preprocessing(FAST)
    assert [(line["event"], line["decoder"]) for line in logs] == [("jpegs_decoded_otherwise", "nvimagecodec-1")]
    with pytest.raises(ModelMismatchError):
        encoder("nvimagecodec-1").require_preprocessing(EXACT)
