"""Memory shared with a real Triton: equal answers, restarts, killed processes, and hosts where it does not work."""

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs
from tritonclient.grpc.aio import InferenceServerClient

from framematch.core.errors import TritonUnavailableError
from framematch.core.triton_key import KeyHeader
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.triton import TritonServer
from framematch.vision import shared_memory
from framematch.vision.encoder import ImageEncoder
from tests.integration.shared_memory_program import BATCHES, pictures
from tests.support import eventually
from tests.unit.model_build.bundles import SIDE, BundleFiles

pytestmark = pytest.mark.integration

PIXELS = np.random.default_rng(8).integers(0, 256, (11, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    bundle = load_bundle(BundleFiles().write(folder / "bundle"))
    build_model_repository(bundle, folder / "repository", BuildOptions(max_batch_size=4))
    return folder / "repository"


@pytest.fixture(scope="module")
def triton(repository: Path, start_triton: Callable[[Path], TritonServer]) -> TritonServer:
    return start_triton(repository)


@pytest.fixture
async def encoder(triton: TritonServer) -> AsyncIterator[ImageEncoder]:
    async with await ImageEncoder.connect(triton.url, key=triton.repository_key) as connected:
        yield connected


@pytest.fixture
def _no_pixels_through_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_name: str, _array: Any) -> Any:
        raise AssertionError("pixels went through gRPC")

    monkeypatch.setattr(shared_memory, "inline_tensor", refused)


async def regions_at(triton: TritonServer) -> set[str]:
    """The names of the regions that Triton has mapped."""
    async with InferenceServerClient(triton.url) as client:
        client.register_plugin(KeyHeader(triton.repository_key))
        return set((await client.get_system_shared_memory_status()).regions)


def file_of(region: str) -> Path:
    return Path("/dev/shm") / region  # noqa: S108  # where the kernel has it


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@contextmanager
def other_process(triton: TritonServer) -> Iterator["subprocess.Popen[str]"]:
    """A process with its own region registered with Triton."""
    command = [sys.executable, "-m", "tests.integration.shared_memory_program", triton.url, triton.repository_key]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert embeddings_of(process)
            yield process
        finally:
            process.kill()


def embeddings_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdin
    assert process.stdout
    print(file=process.stdin, flush=True)
    return process.stdout.readline().strip()


@pytest.mark.usefixtures("_no_pixels_through_grpc")
async def test_shared_memory_has_the_same_embeddings_as_grpc(encoder: ImageEncoder) -> None:
    through_grpc = await encoder.embed(PIXELS)
    await encoder.share_memory(1)
    np.testing.assert_allclose(await encoder.embed(PIXELS), through_grpc, atol=1e-6)


async def test_more_batches_than_slots_each_get_their_own_rows(encoder: ImageEncoder) -> None:
    alone = await encoder.embed(PIXELS)
    await encoder.share_memory(2)
    slices = [slice(first, first + 1 + first % 3) for first in range(len(PIXELS) - 2)] * 4
    answers = await asyncio.gather(*(encoder.embed(PIXELS[part]) for part in slices))
    for part, answer in zip(slices, answers, strict=True):
        np.testing.assert_allclose(answer, alone[part], atol=1e-6)


async def test_closing_leaves_neither_a_file_nor_a_region_in_triton(triton: TritonServer) -> None:
    before = await regions_at(triton)
    async with await ImageEncoder.connect(triton.url, key=triton.repository_key) as encoder:
        await encoder.share_memory(2)
        await encoder.embed(PIXELS)
        (region,) = await regions_at(triton) - before
        assert file_of(region).exists()
    assert not file_of(region).exists()
    assert region not in await regions_at(triton)


@pytest.mark.usefixtures("_no_pixels_through_grpc")
async def test_the_region_is_registered_again_with_a_restarted_triton(repository: Path, tmp_path: Path) -> None:
    triton = TritonServer(tmp_path / "server", repository)
    triton.start()
    try:
        async with await ImageEncoder.connect(triton.url, key=triton.repository_key) as encoder:
            await encoder.share_memory(BATCHES)
            before = await encoder.embed(PIXELS)
            regions = await regions_at(triton)
            triton.kill()
            triton.start()
            # No call has failed yet, so the first one notices the restart.
            answers = []

            async def answered() -> bool:
                try:
                    answers.append(await encoder.embed(PIXELS))
                except TritonUnavailableError:
                    return False
                return True

            await eventually(answered)
            np.testing.assert_allclose(answers[0], before, atol=1e-6)
            assert await regions_at(triton) == regions
    finally:
        triton.stop()


@pytest.mark.usefixtures("_no_pixels_through_grpc")
async def test_two_processes_do_not_touch_each_other_s_region(triton: TritonServer, encoder: ImageEncoder) -> None:
    expected = await encoder.embed(pictures(SIDE))
    with other_process(triton) as other:
        await encoder.share_memory(BATCHES)
        theirs, ours = await asyncio.gather(asyncio.to_thread(embeddings_of, other), encoder.embed(pictures(SIDE)))
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    np.testing.assert_allclose(np.frombuffer(bytes.fromhex(theirs), np.float32), expected.ravel(), atol=1e-6)


async def test_the_region_of_a_killed_process_is_removed_when_the_next_one_starts(
    triton: TritonServer, encoder: ImageEncoder
) -> None:
    before = await regions_at(triton)
    with other_process(triton):
        (left,) = await regions_at(triton) - before
    assert file_of(left).exists()
    assert left in await regions_at(triton)
    await encoder.share_memory(BATCHES)
    assert not file_of(left).exists()
    assert left not in await regions_at(triton)


async def test_a_triton_without_access_to_the_memory_gets_pictures_through_grpc(
    encoder: ImageEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shared_memory, "_FOLDER", tmp_path)  # Triton looks elsewhere, as on another host
    with capture_logs() as logs:
        await encoder.share_memory(BATCHES)
    assert [entry["event"] for entry in logs] == ["shared_memory_refused"]
    assert "same host" in logs[0]["hint"]
    assert (await encoder.embed(PIXELS)).shape == (len(PIXELS), encoder.manifest.dimension)


async def test_without_the_key_pictures_go_through_grpc_and_the_log_names_it(triton: TritonServer) -> None:
    async with await ImageEncoder.connect(triton.url) as encoder:
        with capture_logs() as logs:
            await encoder.share_memory(BATCHES)
        assert [(entry["event"], entry["hint"]) for entry in logs] == [
            ("shared_memory_refused", "Set TRITON_REPOSITORY_KEY to Triton's key")
        ]
        assert (await encoder.embed(PIXELS)).shape == (len(PIXELS), encoder.manifest.dimension)


async def test_a_host_with_too_little_shared_memory_is_no_failure_and_leaves_no_file(
    encoder: ImageEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shared_memory, "_FOLDER", tmp_path)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with capture_logs() as logs:
        await encoder.share_memory(BATCHES)
    assert [entry["event"] for entry in logs] == ["shared_memory_refused"]
    assert "No space left" in logs[0]["error"]
    assert names_in(tmp_path) == []
    assert (await encoder.embed(PIXELS)).shape == (len(PIXELS), encoder.manifest.dimension)
