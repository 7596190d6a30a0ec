"""The ViT-B/32-shaped model, at a size that computes in milliseconds."""

from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from benchmarks.vit_b32 import VitShape, vision_model, write_vit_bundle
from framematch.model_build.bundles.bundle import load_bundle

SMALL = VitShape(side_px=32, patch_px=16, layers=2, width=16, heads=4, mlp=32, projection=8)


def _embed(model: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    (embeddings,) = ReferenceEvaluator(model).run(None, {"pixel_values": pixels})
    return np.asarray(embeddings)


def test_the_image_tower_embeds_each_picture_by_itself() -> None:
    model = vision_model(np.random.default_rng(0), SMALL)
    onnx.checker.check_model(model, full_check=True)
    pixels = np.random.default_rng(1).uniform(-1, 1, (3, 3, 32, 32)).astype(np.float32)
    embeddings = _embed(model, pixels)
    assert embeddings.shape == (3, 8)
    assert np.allclose(_embed(model, pixels[1:2]), embeddings[1:2], atol=1e-6)
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-4


def test_every_patch_changes_the_embedding() -> None:
    model = vision_model(np.random.default_rng(0), SMALL)
    pixels = np.zeros((1, 3, 32, 32), np.float32)
    plain = _embed(model, pixels)
    for row in (0, 16):
        for column in (0, 16):
            changed = pixels.copy()
            changed[:, :, row : row + 16, column : column + 16] = np.random.default_rng(2).normal(size=(16, 16))
            assert np.abs(_embed(model, changed) - plain).max() > 1e-5


def test_the_default_shape_has_the_weights_of_vit_b32() -> None:
    # 87,849,216 of the vision tower of openai/clip-vit-base-patch32, with the projection; the class token is in the
    # position embedding here.
    weights = vision_model(np.random.default_rng(0), VitShape(layers=1)).graph.initializer
    floats = sum(int(np.prod(w.dims)) for w in weights if w.data_type == onnx.TensorProto.FLOAT and w.dims)
    layer = 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    assert floats + 11 * layer + 768 == 87_849_216


def test_the_bundle_is_one_of_pictures_alone(tmp_path: Path) -> None:
    write_vit_bundle(tmp_path / "bundle", SMALL)
    bundle = load_bundle(tmp_path / "bundle")
    assert (bundle.text, bundle.dimension, bundle.preprocess.crop_height) == (None, 8, 32)
