"""The consumer's stages decide equally whether they decode JPEGs or a real Triton does: regions, gates, bad records."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from consumers.in_flight_frame import Decided, InFlightFrame, Rejected, Skipped
from consumers.metrics import ConsumerMetrics
from consumers.stages import inference as inference_module
from consumers.stages.batcher import RegionCrop, region_crops
from consumers.stages.inference import Inference
from consumers.stages.prepare import AgeLimits, Preparer
from demo.dataset import DATA_DIR, load_photos
from framematch.catalog.images import decode_rgb
from framematch.core.health import Health, new_registry
from framematch.core.settings import ConsumerSettings
from framematch.matching.decision import Decision
from framematch.matching.gate import PictureGate
from framematch.matching.matcher import Matcher
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.triton import TritonServer
from framematch.vision.encoder import ImageEncoder
from framematch.vision.jpeg_encoder import JpegEncoder
from framematch.vision.preprocess import Preprocessor
from tests.e2e.input_records import InputRecord, photos, with_invalid_embeddings, with_poison
from tests.faulty_model import MAKES_IT_RAISE, FaultyModel
from tests.support import eventually
from tests.unit.catalog.snapshots import make_snapshot
from tests.unit.consumers.sample_frames import make_served, record
from tests.unit.model_build.bundles import BundleFiles

pytestmark = pytest.mark.integration

GATE = PictureGate(3.0, 0.3)
BATCH = 8


@dataclass(frozen=True)
class Served:
    url: str
    model: FaultyModel


@pytest.fixture(scope="module")
def served(start_triton: Callable[[Path], TritonServer], tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("decoding")
    options = BuildOptions(max_batch_size=4, jpeg="fast")
    build_model_repository(load_bundle(BundleFiles().write(folder / "bundle")), folder / "repository", options)
    model = FaultyModel(folder / "repository")
    return Served(start_triton(folder / "repository").url, model)


@dataclass(frozen=True)
class Mode:
    """The stages with one way to decode, and a snapshot of the demo's photos."""

    snapshot: ServedSnapshot
    preparer: Preparer
    inference: Inference
    health: Health

    async def decide(self, records: Sequence[InputRecord]) -> list[InFlightFrame]:
        frames = [
            InFlightFrame(record(number, key=one.key, value=one.value, headers=one.headers), one.key, 0)
            for number, one in enumerate(records)
        ]
        regions: list[RegionCrop] = []
        for frame in frames:
            self.preparer.prepare(frame, self.snapshot)
            regions += region_crops(frame)
        for first in range(0, len(regions), BATCH):
            await self.inference.decide(regions[first : first + BATCH])
        return frames


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Mode]:
    async with AsyncExitStack() as resources:
        yield await mode(resources, served, ImageEncoder)


@pytest.fixture
async def server(served: Served) -> AsyncIterator[Mode]:
    async with AsyncExitStack() as resources:
        yield await mode(resources, served, JpegEncoder)


async def mode(resources: AsyncExitStack, served: Served, kind: type[ImageEncoder]) -> Mode:
    encoder = await resources.enter_async_context(await kind.connect(served.url))
    preprocessor = Preprocessor(encoder.manifest.preprocess, "fast")
    encoder.require_preprocessing(preprocessor.digest)
    crops = np.stack([preprocessor(decode_rgb((DATA_DIR / photo.file).read_bytes())) for photo in load_photos()[:20]])
    snapshot = make_snapshot(await encoder.embed(crops), [f"product-{row // 2}" for row in range(len(crops))], 0.9, 0.0)
    thread = resources.enter_context(ThreadPoolExecutor(1))
    here, health = kind is ImageEncoder, Health("triton")
    limits = AgeLimits.of(ConsumerSettings())
    return Mode(
        make_served(preprocessor=preprocessor, encoder=encoder, matcher=Matcher(snapshot)),
        Preparer(limits, max_pixels=50_000_000, max_regions=256, gate=GATE if here else None),
        Inference(
            search_thread=thread,
            metrics=ConsumerMetrics(new_registry()),
            health=health,
            gate=None if here else GATE,
        ),
        health,
    )


def outcome(frame: InFlightFrame) -> object:
    """What the events, or the dead letter, are made of."""
    match frame.outcome:
        case Decided(decisions, _):
            return frame.regions, [rounded(decision) for decision in decisions]
        case Rejected(stage, error):
            return stage, error.reason, error.message
        case Skipped(reason):
            return reason
    return None


def rounded(decision: Decision) -> Decision:
    """The model's sums depend on how many pictures are in a batch, in the last bit."""
    candidates = tuple(replace(one, score=round(one.score, 5)) for one in decision.candidates)
    score, margin = (None if number is None else round(number, 5) for number in (decision.score, decision.margin))
    return replace(decision, candidates=candidates, score=score, margin=margin, sketch=None)


def of_picture(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def poor_pictures() -> Iterator[bytes]:
    """Blurred, dark and empty ones: below, at and above the least content and quality."""
    for number, photo in enumerate(load_photos()[:24]):
        with Image.open(DATA_DIR / photo.file) as image:
            yield of_picture(image.convert("RGB").filter(ImageFilter.GaussianBlur(number)))
            yield of_picture(image.convert("RGB").point([value * number // 24 for value in range(256)] * 3))
    yield of_picture(Image.new("RGB", (640, 360), "navy"))


async def test_photos_with_one_or_more_regions_get_equal_decisions(client: Mode, server: Mode) -> None:
    records = list(islice(photos(), 60))
    expected = [outcome(frame) for frame in await client.decide(records)]
    assert [outcome(frame) for frame in await server.decide(records)] == expected
    assert all(isinstance(one, tuple) and isinstance(one[1], list) for one in expected)


async def test_the_same_pictures_are_refused_by_their_content_and_quality(client: Mode, server: Mode) -> None:
    records = [replace(one, value=value) for one, value in zip(photos(), poor_pictures(), strict=False)]
    there, here = await server.decide(records), await client.decide(records)
    assert [outcome(frame) for frame in there] == [outcome(frame) for frame in here]
    reasons = {one.reason for frame in there if isinstance(frame.outcome, Decided) for one in frame.outcome.decisions}
    assert {"no_content", "quality"} < reasons


async def test_bad_records_are_dead_letters_with_the_same_reasons(client: Mode, server: Mode) -> None:
    records = list(islice(with_poison(), 60))
    found = [outcome(frame) for frame in await server.decide(records)]
    assert found == [outcome(frame) for frame in await client.decide(records)]
    expected = [(one.stage, one.reason) for one in records if one.reason]
    assert [one[:2] for one in found if isinstance(one, tuple) and len(one) == 3] == expected
    assert len(expected) == 10


async def test_a_picture_without_an_embedding_is_the_only_one_that_is_rejected(client: Mode, server: Mode) -> None:
    records = list(islice(with_invalid_embeddings(), 30))
    found = [outcome(frame) for frame in await server.decide(records)]
    assert found == [outcome(frame) for frame in await client.decide(records)]
    assert sum("invalid_embedding" in one for one in found if isinstance(one, tuple)) == 6


async def test_a_picture_on_which_the_model_fails_is_found_among_others(client: Mode, server: Mode) -> None:
    records = list(islice(photos(), 9))
    picture = Image.new("RGB", (64, 64), MAKES_IT_RAISE)
    picture.paste(Image.radial_gradient("L").resize((32, 32)), (32, 32))
    bad = replace(records[3], value=of_picture(picture, quality=95, subsampling=0))
    found = [outcome(frame) for frame in await server.decide([*records, bad])]
    assert found == [outcome(frame) for frame in await client.decide([*records, bad])]
    assert found[-1] == ("infer", "invalid_embedding", "no embedding of region 0 is valid")


async def test_nothing_is_decided_until_a_broken_model_works_again(
    served: Served, server: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference_module, "_BACKOFF_S", (0.01, 0.05))
    served.model.inject("nan")
    try:
        deciding = asyncio.create_task(server.decide(list(islice(photos(), 3))))
        await eventually(lambda: not server.health.ready or deciding.done())
        assert not deciding.done()
    finally:
        served.model.recover()
    assert {type(frame.outcome) for frame in await deciding} == {Decided}
