"""What a real Triton counts of a model that is served."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.triton import TritonServer
from framematch.vision.encoder import ImageEncoder
from framematch.vision.triton_statistics import rates_of
from tests.unit.model_build.bundles import SIDE, BundleFiles

pytestmark = pytest.mark.integration

PIXELS = np.zeros((11, SIDE, SIDE, 3), np.uint8)


@pytest.fixture
async def encoder(start_triton: Callable[[Path], TritonServer], tmp_path: Path) -> AsyncIterator[ImageEncoder]:
    bundle = load_bundle(BundleFiles().write(tmp_path / "bundle"))
    build_model_repository(bundle, tmp_path / "repository", BuildOptions(max_batch_size=4))
    async with await ImageEncoder.connect(start_triton(tmp_path / "repository").url) as connected:
        yield connected


async def test_pictures_runs_and_their_times_are_counted(encoder: ImageEncoder) -> None:
    before = await encoder.statistics()
    await encoder.embed(PIXELS)
    counted = (await encoder.statistics()).since(before)
    assert (counted.model, counted.instances) == (f"clip_image_{encoder.manifest.digest[:12]}", 1)
    assert (counted.requests, counted.inferences, counted.runs) == (3, 11, 3)
    assert min(counted.queue_ns, counted.compute_ns, counted.copy_ns) > 0
    rates = rates_of(counted, seconds=1.0)
    assert rates.mean_batch_size == pytest.approx(11 / 3)
    assert 0 < rates.busy_percent < 100
