"""A real Triton whose model returns NaN or another shape, or raises: for some pictures, or for all."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from framematch.core.errors import EmbeddingError
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.triton import TritonServer
from framematch.vision.encoder import ImageEncoder
from framematch.vision.isolation import embed_isolating
from tests.faulty_model import GIVES_NAN, MAKES_IT_RAISE, Fault, FaultyModel
from tests.unit.model_build.bundles import SIDE, BundleFiles

pytestmark = pytest.mark.integration

PIXELS = np.random.default_rng(8).integers(0, 250, (6, SIDE, SIDE, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Served:
    url: str
    model: FaultyModel


@pytest.fixture(scope="module")
def served(start_triton: Callable[[Path], TritonServer], tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("faulty")
    repository = folder / "repository"
    bundle = load_bundle(BundleFiles().write(folder / "bundle"))
    build_model_repository(bundle, repository, BuildOptions(max_batch_size=4))
    model = FaultyModel(repository)
    return Served(start_triton(repository).url, model)


@pytest.fixture
async def encoder(served: Served) -> AsyncIterator[ImageEncoder]:
    async with await ImageEncoder.connect(served.url) as connected:
        yield connected


@pytest.fixture
def model(served: Served) -> Iterator[FaultyModel]:
    yield served.model
    served.model.recover()


def marked(row: int, first_pixel: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    pixels = PIXELS.copy()
    pixels[row, 0, 0] = first_pixel
    return pixels


@pytest.mark.parametrize("first_pixel", [GIVES_NAN, MAKES_IT_RAISE])
async def test_the_one_picture_that_the_model_cannot_embed_is_invalid(
    encoder: ImageEncoder, first_pixel: tuple[int, int, int]
) -> None:
    good = await encoder.embed(PIXELS)
    embeddings, invalid = await embed_isolating(encoder, marked(2, first_pixel))
    assert invalid == {2}
    assert np.isnan(embeddings[2]).all()
    np.testing.assert_allclose(np.delete(embeddings, 2, axis=0), np.delete(good, 2, axis=0), atol=1e-6)


@pytest.mark.parametrize("fault", ["nan", "shape", "raise"])
async def test_a_broken_model_makes_no_picture_invalid_and_after_recovery_the_same_batch_works(
    encoder: ImageEncoder, model: FaultyModel, fault: Fault
) -> None:
    model.inject(fault)
    with pytest.raises(EmbeddingError, match="the model is broken") as caught:
        await embed_isolating(encoder, PIXELS)
    assert caught.value.retriable
    model.recover()
    embeddings, invalid = await embed_isolating(encoder, PIXELS)
    assert not invalid
    assert embeddings.shape == (len(PIXELS), encoder.manifest.dimension)
