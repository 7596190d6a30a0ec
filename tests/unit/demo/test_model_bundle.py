"""The demo's own bundle: small, complete, and better than chance on the demo's photos."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from demo.dataset import BUNDLE_DIR, DATA_DIR, load_photos
from demo.model.grocery import load_products, read_rgb
from framematch.model_build.bundles.bundle import Bundle, load_bundle
from framematch.model_build.graphs.towers import Tower, fold_towers
from framematch.model_build.onnx_session import OnnxSession
from framematch.vision.manifest import IMAGE_MODEL, TEXT_MODEL
from framematch.vision.preprocess import Preprocessor

MB = 1_000_000


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(BUNDLE_DIR)


@pytest.fixture(scope="module")
def towers(bundle: Bundle) -> dict[str, Tower]:
    return fold_towers(bundle)


def pictures(bundle: Bundle, towers: dict[str, Tower], files: list[Path]) -> np.ndarray:
    preprocess = Preprocessor(bundle.preprocess)
    session = OnnxSession(towers[IMAGE_MODEL].graph)
    return session.embed({"pixels": np.stack([preprocess(read_rgb(file)) for file in files])})


def texts(bundle: Bundle, towers: dict[str, Tower], items: list[str]) -> np.ndarray:
    ids, mask = bundle.load_tokenizer()(items)
    return OnnxSession(towers[TEXT_MODEL].graph).embed({"input_ids": ids, "attention_mask": mask})


@pytest.fixture(scope="module")
def gallery(bundle: Bundle, towers: dict[str, Tower]) -> np.ndarray:
    """Embeddings of the catalogue's pictures, in its order."""
    return pictures(bundle, towers, [DATA_DIR / "images" / f"{product.id}.jpg" for product in load_products()])


def test_the_towers_are_small(bundle: Bundle) -> None:
    assert bundle.text is not None
    assert bundle.image_graph.stat().st_size <= 8 * MB
    assert bundle.text.graph.stat().st_size <= 1 * MB


def test_a_batch_has_the_embeddings_of_single_pictures(bundle: Bundle, towers: dict[str, Tower]) -> None:
    files = [DATA_DIR / "images" / name for name in ("kiwi.jpg", "leek.jpg")]
    singles = np.concatenate([pictures(bundle, towers, [file]) for file in files])
    np.testing.assert_allclose(pictures(bundle, towers, files), singles, atol=1e-5)


def test_an_evenly_grey_picture_has_a_finite_embedding(bundle: Bundle, towers: dict[str, Tower]) -> None:
    spec = bundle.preprocess
    grey = np.full((1, spec.crop_height, spec.crop_width, 3), 128, np.uint8)
    assert np.isfinite(OnnxSession(towers[IMAGE_MODEL].graph).embed({"pixels": grey})).all()


def test_photos_find_their_product_by_its_catalogue_picture(
    bundle: Bundle, towers: dict[str, Tower], gallery: np.ndarray
) -> None:
    products, photos = load_products(), load_photos()
    rows = {product.id: row for row, product in enumerate(products)}
    asked = pictures(bundle, towers, [DATA_DIR / photo.file for photo in photos])
    truth = np.array([rows[photo.product] for photo in photos])
    assert ((asked @ gallery.T).argmax(axis=1) == truth).mean() > 0.45


def test_catalogue_pictures_find_their_product_by_its_name(
    bundle: Bundle, towers: dict[str, Tower], gallery: np.ndarray
) -> None:
    products = load_products()
    names = texts(bundle, towers, [product.name for product in products])
    assert ((gallery @ names.T).argmax(axis=1) == np.arange(len(products))).mean() > 0.8


def test_padding_does_not_change_the_embedding_of_a_text(bundle: Bundle, towers: dict[str, Tower]) -> None:
    ids, mask = bundle.load_tokenizer()(["yoghurt"])
    session = OnnxSession(towers[TEXT_MODEL].graph)
    other = np.where(mask == 1, ids, 5)
    np.testing.assert_allclose(
        session.embed({"input_ids": other, "attention_mask": mask}),
        session.embed({"input_ids": ids, "attention_mask": mask}),
        atol=1e-6,
    )


def test_a_word_in_the_plural_is_close_to_the_singular(bundle: Bundle, towers: dict[str, Tower]) -> None:
    banana, bananas, milk = texts(bundle, towers, ["banana", "bananas", "milk"])
    assert banana @ bananas > banana @ milk


def test_the_graphs_have_the_names_and_the_opset_of_a_clip_export(bundle: Bundle) -> None:
    assert bundle.text is not None
    models = [onnx.load(path) for path in (bundle.image_graph, bundle.text.graph)]
    assert [[value.name for value in model.graph.input] for model in models] == [
        ["pixel_values"],
        ["input_ids", "attention_mask"],
    ]
    assert [model.graph.output[0].name for model in models] == ["image_embeds", "text_embeds"]
    assert {model.opset_import[0].version for model in models} == {17}
