"""Embeddings through the real Triton against those of the transformers library, for a CLIP with random weights."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from consumers.stages.decode import read_jpeg
from framematch.model_build.bundles.bundle import Bundle, load_bundle
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.triton import TritonServer
from framematch.vision.encoder import ImageEncoder, TextEncoder
from framematch.vision.preprocess import Preprocessor, Variant
from tests.support import SHARED

CLIP_TINY = SHARED / "conformance" / "clip-tiny"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not CLIP_TINY.is_dir(), reason=f"the conformance bundle is not at {CLIP_TINY}"),
]


@dataclass(frozen=True)
class ExpectedImage:
    """The reference for a picture."""

    embedding: list[float]
    pixel_mean: float
    pixel_std: float


@dataclass(frozen=True)
class ExpectedText:
    """The reference for a text."""

    embedding: list[float]
    input_ids: list[int]


@dataclass(frozen=True)
class Expected:
    """The file expected.json."""

    images: dict[str, ExpectedImage]
    texts: dict[str, ExpectedText]


@pytest.fixture(scope="module")
def expected() -> Expected:
    return msgspec.json.decode((CLIP_TINY / "expected.json").read_bytes(), type=Expected)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(CLIP_TINY)


@pytest.fixture(scope="module")
def url(bundle: Bundle, start_triton: Callable[[Path], TritonServer], tmp_path_factory: pytest.TempPathFactory) -> str:
    repository = tmp_path_factory.mktemp("clip-tiny")
    build_model_repository(bundle, repository)
    return start_triton(repository).url


@pytest.fixture
async def images(url: str) -> AsyncIterator[ImageEncoder]:
    async with await ImageEncoder.connect(url) as encoder:
        yield encoder


@pytest.fixture
async def texts(url: str) -> AsyncIterator[TextEncoder]:
    async with await TextEncoder.connect(url) as encoder:
        yield encoder


def cropped(bundle: Bundle, expected: Expected, variant: Variant) -> npt.NDArray[np.uint8]:
    preprocess = Preprocessor(bundle.preprocess, variant)
    files = [CLIP_TINY / "images" / name for name in expected.images]
    return np.stack([preprocess(np.asarray(Image.open(file).convert("RGB"))) for file in files])


def cosines(embeddings: npt.NDArray[np.float32], reference: list[list[float]]) -> npt.NDArray[np.float64]:
    return np.asarray(np.einsum("ij,ij->i", embeddings.astype(np.float64), np.array(reference)))


@pytest.mark.parametrize(("variant", "at_least"), [("exact", 0.9999), ("fast", 0.99)])
async def test_pictures_have_the_reference_s_embeddings(
    images: ImageEncoder, bundle: Bundle, expected: Expected, variant: Variant, at_least: float
) -> None:
    embeddings = await images.embed(cropped(bundle, expected, variant))
    assert cosines(embeddings, [image.embedding for image in expected.images.values()]).min() >= at_least


async def test_pictures_reduced_by_the_decoder_have_the_reference_s_embeddings(
    images: ImageEncoder, bundle: Bundle, expected: Expected
) -> None:
    preprocess = Preprocessor(bundle.preprocess, "fast")
    jpegs = [read_jpeg((CLIP_TINY / "images" / name).read_bytes(), max_pixels=10**7) for name in expected.images]
    reductions = [preprocess.reduction(jpeg.height, jpeg.width) for jpeg in jpegs]
    assert max(reductions) > 1
    crops = [preprocess(jpeg.decode(reduction)) for jpeg, reduction in zip(jpegs, reductions, strict=True)]
    embeddings = await images.embed(np.stack(crops))
    assert cosines(embeddings, [image.embedding for image in expected.images.values()]).min() >= 0.99


def test_exact_pixels_have_the_reference_s_mean_and_deviation(bundle: Bundle, expected: Expected) -> None:
    spec = bundle.preprocess
    pixels = (cropped(bundle, expected, "exact") * spec.rescale_factor - spec.mean) / spec.std
    reference = [(image.pixel_mean, image.pixel_std) for image in expected.images.values()]
    found = list(zip(pixels.mean(axis=(1, 2, 3)), pixels.std(axis=(1, 2, 3)), strict=True))
    np.testing.assert_allclose(found, reference, atol=1e-4)


def test_texts_have_the_reference_s_token_ids(bundle: Bundle, expected: Expected) -> None:
    ids, _mask = bundle.load_tokenizer()(list(expected.texts))
    assert ids.tolist() == [text.input_ids for text in expected.texts.values()]


async def test_texts_have_the_reference_s_embeddings(texts: TextEncoder, expected: Expected) -> None:
    embeddings = await texts.embed(list(expected.texts))
    assert cosines(embeddings, [text.embedding for text in expected.texts.values()]).min() >= 0.9999


async def test_pictures_and_texts_have_one_embedding_space(images: ImageEncoder, texts: TextEncoder) -> None:
    assert images.manifest == texts.manifest
