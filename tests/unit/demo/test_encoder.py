"""The stand-in bundle is a bundle like any other."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from tokenizers import Tokenizer

from demo.dataset import DATA_DIR
from demo.encoder import write_bundle
from framematch.vision.bundle import load_bundle

Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("encoder") / "bundle")


def embed_images(bundle: Path, names: list[str]) -> Array:
    pictures = [cv2.resize(_read(name), (112, 112), interpolation=cv2.INTER_AREA) for name in names]
    pixels = np.asarray(np.stack(pictures)[..., ::-1].transpose(0, 3, 1, 2) / 255, np.float32)
    return _run(bundle / "onnx" / "vision_model.onnx", {"pixel_values": pixels})


def embed_text(bundle: Path, text: str, padding: int = 0) -> Array:
    ids = Tokenizer.from_file(str(bundle / "tokenizer.json")).encode(text).ids
    padded = np.array([ids + [1] * padding], np.int64)
    mask = np.array([[1] * len(ids) + [0] * padding], np.int64)
    embeddings = _run(bundle / "onnx" / "text_model.onnx", {"input_ids": padded, "attention_mask": mask})
    return embeddings.reshape(128)


def cosine(first: Array, second: Array) -> float:
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def test_the_loader_of_clip_bundles_takes_it(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    assert (loaded.dimension, loaded.context_length, loaded.preprocess.crop_width) == (128, 77, 112)


def test_the_same_seed_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    again = write_bundle(tmp_path)
    for path in (path for path in bundle.rglob("*") if path.is_file()):
        assert path.read_bytes() == (again / path.relative_to(bundle)).read_bytes(), path.name


def test_another_seed_gives_another_model(bundle: Path, tmp_path: Path) -> None:
    graph = Path("onnx") / "vision_model.onnx"
    assert (write_bundle(tmp_path, seed=1) / graph).read_bytes() != (bundle / graph).read_bytes()


def test_the_graphs_have_the_names_and_the_opset_of_a_clip_export(bundle: Path) -> None:
    models = [onnx.load(bundle / "onnx" / f"{tower}_model.onnx") for tower in ("vision", "text")]
    assert [[value.name for value in model.graph.input] for model in models] == [
        ["pixel_values"],
        ["input_ids", "attention_mask"],
    ]
    assert [model.graph.output[0].name for model in models] == ["image_embeds", "text_embeds"]
    assert {model.opset_import[0].version for model in models} == {17}


def test_pictures_of_like_colours_are_closer_than_others(bundle: Path) -> None:
    lemon, photo, aubergine = embed_images(bundle, ["images/lemon.jpg", "photos/lemon-1.jpg", "images/aubergine.jpg"])
    assert cosine(lemon, photo) > cosine(aubergine, photo) + 0.2


def test_a_batch_gives_what_single_pictures_give(bundle: Path) -> None:
    names = ["images/kiwi.jpg", "images/leek.jpg"]
    singles = np.concatenate([embed_images(bundle, [name]) for name in names])
    assert np.allclose(embed_images(bundle, names), singles, atol=1e-6)


def test_an_evenly_grey_picture_has_a_finite_embedding(bundle: Path) -> None:
    pixels = np.full((1, 3, 112, 112), 0.5, np.float32)
    embedding = _run(bundle / "onnx" / "vision_model.onnx", {"pixel_values": pixels})
    assert np.isfinite(embedding).all()
    assert np.linalg.norm(embedding) > 0.1


def test_texts_with_common_words_are_closer_than_others(bundle: Path) -> None:
    apple = embed_text(bundle, "a sweet red apple")
    assert cosine(apple, embed_text(bundle, "Red apple, sweet!")) > cosine(apple, embed_text(bundle, "oat drink")) + 0.2


def test_padding_changes_nothing_of_a_text(bundle: Path) -> None:
    assert np.allclose(embed_text(bundle, "yoghurt", padding=9), embed_text(bundle, "yoghurt"), atol=1e-6)


def _read(name: str) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(DATA_DIR / name)), np.uint8)


def _run(graph: Path, inputs: dict[str, Array] | dict[str, NDArray[np.int64]]) -> Array:
    (output,) = ReferenceEvaluator(str(graph)).run(None, dict(inputs))
    return np.asarray(output, np.float32)
