"""A real Triton decodes JPEGs: the same pixels, embeddings and verdicts as in the client, row by row."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException
from typer.testing import CliRunner

from framematch.cli import doctor_matching
from framematch.cli.model import app
from framematch.core.errors import ModelError, ModelMismatchError, TritonUnavailableError
from framematch.core.frames import Region
from framematch.core.settings import Settings
from framematch.model_build.bundles.bundle import Bundle, load_bundle
from framematch.model_build.reload import Reload, reload_models
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.triton import TritonServer
from framematch.stack.triton_check import check
from framematch.vision.jpeg_encoder import JpegEncoder
from framematch.vision.preprocess import Preprocessor, Variant
from framematch.vision.region_rows import RegionRow, crop_rows, reduction_for
from tests.unit.model_build.bundles import BundleFiles

pytestmark = pytest.mark.integration

PHOTOS = sorted((Path(__file__).parents[2] / "demo" / "data").rglob("*.jpg"))[:6]
MAX_PIXELS = 4_000_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(BundleFiles().write(tmp_path_factory.mktemp("bundles") / "small"))


@pytest.fixture(scope="module")
def server(
    bundle: Bundle, start_triton: Callable[[Path], TritonServer], tmp_path_factory: pytest.TempPathFactory
) -> TritonServer:
    repository = tmp_path_factory.mktemp("decoding")
    options = BuildOptions(max_batch_size=4, jpeg="fast", jpeg_max_pixels=MAX_PIXELS)
    build_model_repository(bundle, repository, options)
    return start_triton(repository)


def jpeg(width: int = 640, height: int = 360, **options: object) -> bytes:
    noise = np.random.default_rng(width).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((width, height)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def rows_of(data: bytes, preprocessor: Preprocessor, *regions: Region) -> list[RegionRow]:
    return [RegionRow(data, region, reduction_for(preprocessor, regions)) for region in regions]


def frames(preprocessor: Preprocessor) -> list[RegionRow]:
    """Regions of frames of several sizes and kinds, and of photos; more than fit into one batch."""
    wide, grey = jpeg(1280, 720, quality=80), jpeg(300, 200, progressive=True)
    rows = rows_of(wide, preprocessor, (0, 0, 1280, 720), (17, 3, 301, 299), (900, 500, 380, 220))
    rows += rows_of(grey, preprocessor, (0, 0, 300, 200), (1, 1, 9, 9))
    for photo in PHOTOS:
        data = photo.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            rows += rows_of(data, preprocessor, (0, 0, image.width, image.height))
    return rows


async def test_triton_s_pixels_embeddings_and_measures_are_those_of_the_client(server: TritonServer) -> None:
    async with await JpegEncoder.connect(server.url) as encoder:
        preprocessor = Preprocessor(encoder.manifest.preprocess, "fast")
        rows = frames(preprocessor)
        own = crop_rows(rows, preprocessor, max_pixels=MAX_PIXELS)
        pixels, _ = await encoder.decode_regions(rows)
        embeddings, measured = await encoder.embed_regions(rows)
        expected = [await encoder.embed(row.pixels[None]) for row in own]
    np.testing.assert_array_equal(pixels, np.stack([row.pixels for row in own]))
    assert measured.contents == [row.content for row in own]
    assert measured.qualities == [row.quality for row in own]
    assert set(measured.problems) == {""}
    np.testing.assert_allclose(embeddings, np.concatenate(expected), atol=1e-6)


async def test_equal_batches_have_equal_embeddings_to_the_last_bit(server: TritonServer) -> None:
    async with await JpegEncoder.connect(server.url) as encoder:
        preprocessor = Preprocessor(encoder.manifest.preprocess, "fast")
        rows = frames(preprocessor)[:4]
        pixels = np.stack([row.pixels for row in crop_rows(rows, preprocessor, max_pixels=MAX_PIXELS)])
        embeddings, _ = await encoder.embed_regions(rows)
        np.testing.assert_array_equal(embeddings, await encoder.embed(pixels))


async def test_a_bad_jpeg_is_the_problem_of_its_own_rows(server: TritonServer) -> None:
    good, whole = jpeg(), (0, 0, 640, 360)
    lossless = good.replace(b"\xff\xc0", b"\xff\xc3", 1)  # it says so, and is not
    bad = [good[:-2000], b"", lossless, b"GIF89a", jpeg(2400, 1800)]
    rows = [RegionRow(data, whole, 1) for data in (good, *bad, good)] + [RegionRow(good, (700, 0, 9, 9), 1)]
    async with await JpegEncoder.connect(server.url) as encoder:
        preprocessor = Preprocessor(encoder.manifest.preprocess, "fast")
        own = crop_rows(rows, preprocessor, max_pixels=MAX_PIXELS)
        embeddings, measured = await encoder.embed_regions(rows)
    assert measured.problems == [row.problem for row in own]
    reasons = [problem.partition(":")[0] for problem in measured.problems]
    assert reasons == ["", "truncated", "not_a_jpeg", "undecodable", "not_a_jpeg", "too_many_pixels", "", "region"]
    np.testing.assert_array_equal(embeddings[0], embeddings[6])


async def test_a_picture_of_several_rows_is_sent_once(server: TritonServer) -> None:
    data = jpeg(quality=95)
    rows = [RegionRow(data, (10 * number, 0, 200, 200), 1) for number in range(4)]
    async with await JpegEncoder.connect(server.url) as encoder:
        together, _ = await encoder.embed_regions(rows)
        apart = [(await encoder.embed_regions([row]))[0] for row in rows]
    np.testing.assert_allclose(together, np.concatenate(apart), atol=1e-6)


@pytest.mark.parametrize(("box", "reduction"), [((-1, 0, 5, 5), 1), ((0, 0, 0, 5), 1), ((0, 0, 5, 5), 3)])
async def test_a_request_that_is_no_region_is_refused(server: TritonServer, box: Sequence[int], reduction: int) -> None:
    data = np.array([[jpeg()]], np.object_)
    tensors = [
        InferInput("jpeg", [1, 1], "BYTES").set_data_from_numpy(data),
        InferInput("region", [1, 4], "INT32").set_data_from_numpy(np.array([box], np.int32)),
        InferInput("reduction", [1, 1], "INT32").set_data_from_numpy(np.array([[reduction]], np.int32)),
    ]
    name = next(path.name for path in server.model_repository.glob("clip_jpeg_*"))
    client = InferenceServerClient(server.url)
    try:
        with pytest.raises(InferenceServerException, match=r"the re(gion|duction)"):
            await client.infer(name, tensors)
    finally:
        await client.close()


async def test_a_snapshot_with_another_preprocessing_is_refused(server: TritonServer) -> None:
    async with await JpegEncoder.connect(server.url) as encoder:
        encoder.require_preprocessing(Preprocessor(encoder.manifest.preprocess, "fast").digest)
        with pytest.raises(ModelMismatchError, match="as fast"):
            encoder.require_preprocessing(Preprocessor(encoder.manifest.preprocess, "exact").digest)


async def test_a_model_that_was_built_without_it_is_named_with_the_command_that_adds_it(
    bundle: Bundle, tmp_path: Path
) -> None:
    server = TritonServer(tmp_path / "server", tmp_path / "repository")
    build_model_repository(bundle, tmp_path / "repository")
    server.start()
    try:
        with pytest.raises(ModelError, match="does not decode JPEGs") as caught:
            await JpegEncoder.connect(server.url)
        assert "--jpeg" in caught.value.hint
        manifest = build_model_repository(bundle, tmp_path / "repository", BuildOptions(jpeg="fast", max_batch_size=8))
        assert await reload_models(server.url, manifest, jpeg=True, key=server.repository_key) is Reload.LOADED
        async with await JpegEncoder.connect(server.url) as encoder:
            assert (await encoder.embed_regions([RegionRow(jpeg(), (0, 0, 64, 64), 1)]))[0].shape[0] == 1
        manifest = build_model_repository(bundle, tmp_path / "repository", BuildOptions(max_batch_size=4))
        assert await reload_models(server.url, manifest, key=server.repository_key) is Reload.LOADED
        with pytest.raises(TritonUnavailableError, match="clip_jpeg"):
            await JpegEncoder.connect(server.url, timeout_s=0.5)
    finally:
        server.stop()


def test_a_stack_that_checks_its_models_runs_those_that_take_jpegs_too(server: TritonServer) -> None:
    check(server.url, server.repository_key)


def test_the_model_check_compares_what_triton_decodes_with_what_is_decoded_here(
    server: TritonServer, bundle: Bundle
) -> None:
    result = CliRunner().invoke(app, ["check", "--from", str(bundle.path), "--json"], env={"TRITON_URL": server.url})
    rows = [row for row in msgspec.json.decode(result.stdout)["checks"] if row["what"].startswith("JPEGs")]
    assert [(row["against"], row["passed"], row["lowest"] > 0.99999) for row in rows] == [
        ("libjpeg-turbo, fast", True, True)
    ]


@pytest.mark.parametrize(("variant", "passes"), [("fast", True), ("exact", False)])
async def test_the_doctor_says_whether_the_model_decodes_for_the_active_snapshot(
    server: TritonServer, variant: Variant, passes: bool
) -> None:
    settings = Settings.model_validate({"triton": {"url": server.url}, "consumer": {"decode": "server"}})
    async with await JpegEncoder.connect(server.url) as encoder:
        model = encoder.manifest
    active: Any = SimpleNamespace(
        model_digest=model.digest, preprocessing_digest=Preprocessor(model.preprocess, variant).digest
    )
    finding = (await doctor_matching._model(settings, active)).findings[-1]  # noqa: SLF001  # the rest needs a catalogue
    assert (finding.part, finding.ok) == ("Model", passes)
