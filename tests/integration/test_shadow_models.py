"""A shadow of another model, or of another preprocessing, with two models in a real Triton."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from consumers.shadow import comparisons as comparisons_module
from consumers.stages.batcher import region_crops
from consumers.stages.inference import Inference
from consumers.stages.prepare import AgeLimits, Preparer
from framematch.catalog.changes.delta import Delta
from framematch.catalog.images import decode_rgb
from framematch.core.events import ModelInfo
from framematch.core.frames import Frame, frame_headers
from framematch.core.health import Health
from framematch.core.settings import ConsumerSettings
from framematch.matching.gate import PictureGate
from framematch.matching.matcher import Matcher
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.reload import reload_models, unload_models
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.triton import TritonServer
from framematch.vision.encoder import ImageEncoder
from framematch.vision.manifest import IMAGE_MODEL, ModelManifest, served_name
from framematch.vision.preprocess import Preprocessor, Variant
from tests.support import eventually
from tests.unit.catalog.snapshots import make_snapshot
from tests.unit.consumers.sample_frames import fetched
from tests.unit.consumers.shadow_parts import ShadowRun
from tests.unit.model_build.bundles import PROCESSOR, SIDE, BundleFiles, image_tower, weights

pytestmark = pytest.mark.integration

PRODUCTS = tuple(f"product-{number}" for number in range(6))
OTHER_SIDE = 12


def jpeg(number: int) -> bytes:
    """A picture of large coloured squares."""
    cells = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(cells.repeat(16, axis=0).repeat(16, axis=1)).save(file, "JPEG", quality=95)
    return file.getvalue()


PICTURES = [jpeg(number) for number in range(len(PRODUCTS))]


@dataclass(frozen=True)
class Models:
    """A Triton with three models: the second has the preprocessing of the first, the third has larger crops."""

    server: TritonServer
    first: ModelManifest
    second: ModelManifest
    larger: ModelManifest


@pytest.fixture(scope="module")
def models(start_triton: Callable[[Path], TritonServer], tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("models")
    size = {"size": {"shortest_edge": OTHER_SIDE}, "crop_size": {"height": OTHER_SIDE, "width": OTHER_SIDE}}
    bundles = [
        BundleFiles(image=image_tower(weights(3 * SIDE * SIDE, seed=1))),
        BundleFiles(image=image_tower(weights(3 * SIDE * SIDE, seed=2))),
        BundleFiles(
            image=image_tower(weights(3 * OTHER_SIDE * OTHER_SIDE, seed=3), side=OTHER_SIDE),
            processor={**PROCESSOR, **size},
        ),
    ]
    repository = folder / "repository"
    manifests = [
        build_model_repository(load_bundle(files.write(folder / f"bundle-{number}")), repository, BuildOptions())
        for number, files in enumerate(bundles)
    ]
    return Models(start_triton(repository), *manifests)


async def opened(
    resources: AsyncExitStack, models: Models, snapshot_id: str, model: ModelManifest, variant: Variant = "fast"
) -> ServedSnapshot:
    """A snapshot of the pictures, embedded with this model."""
    encoder = await resources.enter_async_context(await ImageEncoder.connect(models.server.url, model.digest))
    preprocessor = Preprocessor(model.preprocess, variant)
    crops = np.stack([preprocessor(decode_rgb(picture)) for picture in PICTURES])
    snapshot = make_snapshot(await encoder.embed(crops), PRODUCTS, match=0.99, margin=0.0)
    manifest = replace(snapshot.manifest, id=snapshot_id)
    return ServedSnapshot(
        manifest=manifest,
        changes=Delta(0),
        model=ModelInfo(model.name, model.digest),
        preprocessor=preprocessor,
        encoder=encoder,
        matcher=Matcher(snapshot),
    )


async def decide(run: ShadowRun, active: ServedSnapshot, first: int, count: int) -> None:
    """Prepare and decide frames of the pictures with the active snapshot, which offers them to the shadow."""
    preparer = Preparer(AgeLimits.of(ConsumerSettings()), max_pixels=100_000, max_regions=4, gate=PictureGate(0, 0))
    batch = []
    for number in range(first, first + count):
        header = Frame("till-1", 1_767_225_600_000_000 + number, number)
        frame = fetched(number, value=PICTURES[number % len(PICTURES)])
        frame.record.key, frame.record.headers = b"till-1", tuple(frame_headers(header))
        preparer.prepare(frame, active)
        batch += region_crops(frame)
    with ThreadPoolExecutor(1) as thread:
        inference = Inference(search_thread=thread, metrics=run.metrics, health=Health("triton"), shadow=run.queue)
        await inference.decide(batch)


@pytest.fixture(autouse=True)
def _nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_arguments: object) -> None:
        pass

    monkeypatch.setattr(comparisons_module, "write_counts", nothing)
    monkeypatch.setattr(comparisons_module, "ensure_expiry", nothing)


@pytest.mark.parametrize(
    ("model", "variant"), [("second", "fast"), ("larger", "fast"), ("first", "exact"), ("larger", "exact")]
)
async def test_a_shadow_of_another_space_finds_the_same_products(models: Models, model: str, variant: Variant) -> None:
    async with AsyncExitStack() as resources:
        active = await opened(resources, models, "active", models.first)
        run = ShadowRun(await opened(resources, models, "shadow", getattr(models, model), variant))
        async with run.running():
            await decide(run, active, 0, 4)
            await eventually(lambda: run.counts.regions == 4)
    assert run.counts.decisions == ((4, 0, 0), (0, 0, 0), (0, 0, 0))
    assert run.counts.of_change("changed").regions == 0
    assert abs(run.counts.shift.total) < 4 * 5e-3  # the same JPEG, reduced in another way
    assert run.counts.shadow_cost.embed_ms > 0


async def test_a_model_that_is_unloaded_pauses_the_shadow_until_it_is_back(models: Models) -> None:
    url, key, second = models.server.url, models.server.repository_key, models.second
    async with AsyncExitStack() as resources:
        active = await opened(resources, models, "active", models.first)
        run = ShadowRun(await opened(resources, models, "shadow", second))
        with capture_logs() as logs:
            async with run.running():
                await unload_models(url, [served_name(IMAGE_MODEL, second.digest)], key=key)
                await decide(run, active, 0, 4)
                await eventually(lambda: run.counts.failed == 4)
                await reload_models(url, second, key=key)
                run.now_s += 1_000
                await decide(run, active, 4, 4)
                await eventually(lambda: run.counts.regions == 4)
    assert [line["event"] for line in logs if line["event"].startswith("shadow")] == ["shadow_paused", "shadow_resumed"]
