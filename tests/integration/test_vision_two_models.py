"""Several models in one real Triton: each client has its own, and a new one comes and goes without a gap."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from framematch.cli.model import app
from framematch.core.errors import ModelError
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.triton import TritonServer
from framematch.vision.encoder import ImageEncoder, TextEncoder
from framematch.vision.manifest import ModelManifest
from framematch.vision.served_models import list_served_models
from tests.repositories import tower_folder
from tests.unit.model_build.bundles import SIDE, WORDS, BundleFiles, image_only, image_tower, weights

pytestmark = pytest.mark.integration

PIXELS = np.random.default_rng(8).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
StartTriton = Callable[[Path], TritonServer]


def bundle(folder: Path, seed: int) -> Path:
    return BundleFiles(image=image_tower(weights(3 * SIDE * SIDE, seed=seed))).write(folder / f"bundle-{seed}")


def build(source: Path, server: TritonServer) -> None:
    arguments = ["build", "--from", str(source), "--out", str(server.model_repository)]
    environment = {"TRITON_URL": server.url, "TRITON_REPOSITORY_KEY": server.repository_key}
    result = CliRunner().invoke(app, arguments, env=environment)
    assert result.exit_code == 0, result.output
    assert "now serves it" in result.output


@pytest.fixture
def first(tmp_path: Path) -> ModelManifest:
    """A model in the repository that `server` serves."""
    return build_model_repository(load_bundle(bundle(tmp_path, 1)), tmp_path / "repository", BuildOptions())


@pytest.fixture
def server(first: ModelManifest, tmp_path: Path, start_triton: StartTriton) -> TritonServer:
    assert first.digest
    return start_triton(tmp_path / "repository")


async def test_a_build_beside_a_client_neither_stops_nor_changes_its_embeddings(
    first: ModelManifest, server: TritonServer, tmp_path: Path
) -> None:
    async with await ImageEncoder.connect(server.url, first.digest) as old:
        expected = await old.embed(PIXELS)
        answers = 0
        second_build = asyncio.create_task(asyncio.to_thread(build, bundle(tmp_path, 2), server))
        while not second_build.done() or answers < 10:
            np.testing.assert_allclose(await old.embed(PIXELS), expected, atol=1e-6)
            answers += 1
        await second_build
        await old.check()
        async with await ImageEncoder.connect(server.url) as new:
            assert new.manifest.name == "bundle-2"
            found = await asyncio.gather(*(encoder.embed(PIXELS) for encoder in (old, new) * 5))
        for number, embeddings in enumerate(found):
            np.testing.assert_allclose(embeddings, expected if number % 2 == 0 else found[1], atol=1e-6)
        assert not np.allclose(found[1], expected, atol=1e-3)


async def test_a_build_of_the_served_model_does_not_fail_its_clients_and_is_the_newest_again(
    first: ModelManifest, server: TritonServer, tmp_path: Path
) -> None:
    await asyncio.to_thread(build, bundle(tmp_path, 2), server)
    assert [model.manifest.name for model in await list_served_models(server.url)] == ["bundle-2", "bundle-1"]
    async with await ImageEncoder.connect(server.url, first.digest) as encoder:
        expected = await encoder.embed(PIXELS)
        again = asyncio.create_task(asyncio.to_thread(build, tmp_path / "bundle-1", server))
        while not again.done():
            np.testing.assert_allclose(await encoder.embed(PIXELS), expected, atol=1e-6)
        await again
    assert [model.manifest.name for model in await list_served_models(server.url)] == ["bundle-1", "bundle-2"]


async def test_a_tokenizer_of_several_megabytes_is_served(tmp_path: Path, start_triton: StartTriton) -> None:
    source = bundle(tmp_path, 3)
    content = msgspec.json.decode((source / "tokenizer.json").read_bytes())
    words = {random_word: number for number, random_word in enumerate(many_words(150_000), len(WORDS))}
    content["model"]["vocab"] |= words
    (source / "tokenizer.json").write_bytes(msgspec.json.encode(content))
    build_model_repository(load_bundle(source), tmp_path / "large")
    assert (tower_folder(tmp_path / "large", "clip_text") / "config.pbtxt").stat().st_size > 2_000_000
    async with await TextEncoder.connect(start_triton(tmp_path / "large").url) as texts:
        last, number = words.popitem()
        assert texts.tokenizer([last])[0][0][1] == number
        assert (await texts.embed(["milk"])).shape == (1, texts.manifest.dimension)


def many_words(number: int) -> list[str]:
    """Words of 16 random letters, which cannot be compressed well."""
    letters = np.random.default_rng(5).integers(ord("a"), ord("z") + 1, (number, 16), dtype=np.uint8)
    return [row.tobytes().decode() for row in letters]


async def test_texts_have_the_newest_model_which_may_have_none(
    first: ModelManifest, server: TritonServer, tmp_path: Path
) -> None:
    await asyncio.to_thread(build, image_only().write(tmp_path / "pictures-only"), server)
    with pytest.raises(ModelError, match=r"pictures-only .* has no text tower"):
        await TextEncoder.connect(server.url)
    async with await TextEncoder.connect(server.url, first.digest) as texts:
        assert (await texts.embed(["milk"])).shape == (1, first.dimension)
