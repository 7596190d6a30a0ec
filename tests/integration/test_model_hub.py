"""Downloading a bundle from a fake of the hub's API. The real hub is not used."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from framematch.core.errors import FramematchError, ModelError, UnavailableError
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.hub.client import HubClient
from framematch.model_build.hub.download import HubBundle, Progress, download_bundle
from tests.integration.hub_server import TOKEN, Fault, HubServer, Repository, running_hub
from tests.support import wait_until
from tests.unit.model_build.bundles import BundleFiles

pytestmark = pytest.mark.integration

NAME = "Xenova/clip-vit-base-patch32"
ASKED_AS = "openai/clip-vit-base-patch32"
IMAGE = "onnx/vision_model.onnx"
WEIGHTS = "onnx/vision_model.onnx_data"
WEIGHTS_BYTES = 300_000


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small export like public ones, with other precisions and a second file of weights."""
    folder = BundleFiles().write(tmp_path_factory.mktemp("export") / "files")
    (folder / WEIGHTS).write_bytes(np.random.default_rng(1).bytes(WEIGHTS_BYTES))
    (folder / "onnx" / "vision_model_quantized.onnx").write_bytes(b"not asked for")
    (folder / "README.md").write_text("not asked for")
    return folder


@pytest.fixture
def hub(export: Path) -> Iterator[HubServer]:
    with running_hub() as server:
        server.add(NAME, export)
        yield server


@pytest.fixture
def repository(hub: HubServer) -> Repository:
    return hub.repositories[NAME]


def fetch(
    hub: HubServer, cache: Path, revision: str | None = None, show: Progress = lambda *_: None, name: str = ASKED_AS
) -> HubBundle:
    client = HubClient(hub.endpoint, retry_waits_s=(0, 0))
    return download_bundle(name, revision=revision, cache=cache, progress=show, client=client)


def refused(hub: HubServer, cache: Path, revision: str | None = None, name: str = ASKED_AS) -> FramematchError:
    """The error of a download, which must not leave a bundle that looks complete."""
    with pytest.raises(FramematchError) as caught:
        fetch(hub, cache, revision, name=name)
    assert "\n" not in str(caught.value)
    assert complete_bundles(cache) == []
    return caught.value


def complete_bundles(cache: Path) -> list[Path]:
    return [path for path in cache.glob("hub/*/*/*") if not path.parent.name.endswith(".part")]


def test_a_known_name_downloads_its_onnx_export_at_the_commit_of_main(
    hub: HubServer, repository: Repository, export: Path, tmp_path: Path
) -> None:
    found = fetch(hub, tmp_path)
    assert (found.repo, found.commit, found.downloaded) == (NAME, repository.refs["main"], True)
    assert (found.path / WEIGHTS).read_bytes() == (export / WEIGHTS).read_bytes()
    assert load_bundle(found.path).name == "clip-vit-base-patch32"


def test_only_what_a_bundle_needs_is_downloaded(hub: HubServer, tmp_path: Path) -> None:
    names = {path.relative_to(root).as_posix() for root in [fetch(hub, tmp_path).path] for path in root.rglob("*.*")}
    assert names == {
        "config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "source.json",
        IMAGE, WEIGHTS, "onnx/text_model.onnx",
    }  # fmt: skip


def test_progress_ends_with_all_bytes_of_all_files(hub: HubServer, tmp_path: Path) -> None:
    shown: list[tuple[str, int, int]] = []
    found = fetch(hub, tmp_path, show=lambda *figures: shown.append(figures))
    whole = sum(path.stat().st_size for path in found.path.rglob("*") if path.is_file() and path.name != "source.json")
    assert shown[-1] == (WEIGHTS, whole, whole)
    assert [done for _, done, _ in shown] == sorted(done for _, done, _ in shown)


def test_a_complete_bundle_is_used_again_without_asking_the_hub(hub: HubServer, tmp_path: Path) -> None:
    first = fetch(hub, tmp_path)
    hub.stop()
    again = fetch(hub, tmp_path)
    assert (again.path, again.downloaded, again.pinned) == (first.path, False, True)
    assert not fetch(hub, tmp_path, revision=first.commit).downloaded


def test_a_moved_branch_is_followed_only_with_an_explicit_revision(
    hub: HubServer, repository: Repository, tmp_path: Path
) -> None:
    first = fetch(hub, tmp_path).commit
    newer = repository.commit({**repository.commits[first], "config.json": b"{}"})
    assert fetch(hub, tmp_path).commit == first
    assert fetch(hub, tmp_path, revision="main").commit == newer
    assert fetch(hub, tmp_path).commit == newer
    assert fetch(hub, tmp_path, revision=first).commit == first


@pytest.mark.parametrize("path", ["tokenizer.json", WEIGHTS])
def test_an_interrupted_transfer_is_resumed_in_the_same_run(hub: HubServer, tmp_path: Path, path: str) -> None:
    hub.faults.append(Fault(path, "cut", times=2, after_bytes=200))
    fetch(hub, tmp_path)
    assert [request.headers.get("Range") for request in hub.requests_for(path)] == [None, "bytes=200-", "bytes=400-"]


def test_a_hub_that_dies_is_a_retriable_error_and_the_next_run_resumes(hub: HubServer, tmp_path: Path) -> None:
    hub.faults.append(Fault(WEIGHTS, "stall", times=1, after_bytes=100_000))

    def kill_when_stalled(path: str, done: int, whole: int) -> None:
        if path == WEIGHTS and done == whole - WEIGHTS_BYTES + 100_000:
            hub.stop()

    with pytest.raises(UnavailableError) as caught:
        fetch(hub, tmp_path, show=kill_when_stalled)
    assert "resume the download" in caught.value.hint
    assert complete_bundles(tmp_path) == []
    hub.start()
    assert fetch(hub, tmp_path).downloaded
    assert [request.headers.get("Range") for request in hub.requests_for(WEIGHTS)] == [None, "bytes=100000-"]
    assert len(hub.requests_for(IMAGE)) == 1


def test_from_a_server_without_ranges_the_file_is_downloaded_from_the_start(
    hub: HubServer, export: Path, tmp_path: Path
) -> None:
    hub.faults += [Fault(WEIGHTS, "cut", times=1, after_bytes=100_000), Fault(WEIGHTS, "no-range")]
    assert (fetch(hub, tmp_path).path / WEIGHTS).read_bytes() == (export / WEIGHTS).read_bytes()


@pytest.mark.parametrize("path", ["config.json", IMAGE])
def test_a_file_with_another_digest_is_refused_and_downloaded_anew(hub: HubServer, tmp_path: Path, path: str) -> None:
    hub.faults.append(Fault(path, "tamper", times=1))
    error = refused(hub, tmp_path)
    assert path in error.message
    assert "according to the hub" in error.message
    assert fetch(hub, tmp_path).downloaded


def test_a_bundle_that_was_changed_on_disk_is_refused(hub: HubServer, tmp_path: Path) -> None:
    path = fetch(hub, tmp_path).path / IMAGE
    path.write_bytes(bytes(reversed(path.read_bytes())))
    with pytest.raises(ModelError, match="is not what was downloaded") as caught:
        fetch(hub, tmp_path)
    assert "Delete" in caught.value.hint


def test_an_abandoned_download_of_another_commit_is_removed(
    hub: HubServer, repository: Repository, tmp_path: Path
) -> None:
    hub.faults.append(Fault(WEIGHTS, "status", times=3))
    assert isinstance(refused(hub, tmp_path), UnavailableError)
    repository.commit({**repository.commits[repository.refs["main"]], "tokenizer_config.json": b"{}"})
    fetch(hub, tmp_path)
    assert list(tmp_path.glob("hub/*/*.part")) == []


def test_a_missing_repository_is_named(hub: HubServer, tmp_path: Path) -> None:
    error = refused(hub, tmp_path, name="no-owner/nothing")
    assert f"{hub.endpoint} has no repository no-owner/nothing" in error.message


def test_a_private_repository_hints_at_the_token(hub: HubServer, repository: Repository, tmp_path: Path) -> None:
    repository.private = True
    assert "HF_TOKEN" in refused(hub, tmp_path).hint


def test_the_error_for_a_gated_repository_says_where_to_ask_for_access(
    hub: HubServer, repository: Repository, tmp_path: Path
) -> None:
    repository.gated = True
    error = refused(hub, tmp_path)
    assert "gated" in error.message
    assert f"{hub.endpoint}/{NAME}" in error.hint


def test_the_token_is_sent_to_the_hub_and_not_to_the_redirect_s_host(
    hub: HubServer, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.gated = True
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetch(hub, tmp_path).downloaded
    assert {"Authorization" in request.headers for request in hub.requests_for("api")} == {True}
    assert {"Authorization" in request.headers for request in hub.requests_for(WEIGHTS)} == {False}


def test_an_invalid_token_is_reported_and_not_shown(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    error = refused(hub, tmp_path)
    assert "token" in error.hint
    assert "hf_expired" not in str(error)


def test_a_missing_revision_is_named(hub: HubServer, tmp_path: Path) -> None:
    assert "no revision 'v9'" in refused(hub, tmp_path, revision="v9").message


def test_the_error_for_a_repository_without_an_export_lists_its_files(hub: HubServer, tmp_path: Path) -> None:
    hub.repositories["me/torch"] = Repository("me/torch")
    hub.repositories["me/torch"].commit({"config.json": b"{}", "pytorch_model.bin": b"weights"})
    error = refused(hub, tmp_path, name="me/torch")
    assert "found: config.json, pytorch_model.bin" in error.message
    assert NAME in error.hint
    assert "optimum" in error.hint


@pytest.mark.parametrize(("status", "hint"), [(429, "Wait"), (503, "try again later"), (403, "may not read")])
def test_an_error_status_has_a_hint(hub: HubServer, tmp_path: Path, status: int, hint: str) -> None:
    hub.faults.append(Fault("api", "status", status=status))
    error = refused(hub, tmp_path)
    assert str(status) in error.message
    assert hint in error.hint


def test_an_error_never_has_a_signed_address(hub: HubServer, tmp_path: Path) -> None:
    hub.faults.append(Fault(IMAGE, "status", status=500))
    assert "localhost" not in str(refused(hub, tmp_path))


@pytest.mark.parametrize("where", ["api", WEIGHTS])
def test_a_hub_that_hangs_is_an_error_after_the_timeout(
    hub: HubServer, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.2)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    hub.faults.append(Fault(where, "hang"))
    error = refused(hub, tmp_path)
    assert "cannot be reached: timed out" in error.message
    assert error.retriable


def test_offline_mode_is_reported_and_a_bundle_on_disk_is_used(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused(hub, tmp_path).message
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    fetch(hub, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert not fetch(hub, tmp_path).downloaded


def test_an_address_that_is_not_a_hub_is_reported(hub: HubServer, tmp_path: Path) -> None:
    hub.faults.append(Fault("api", "status", status=200))
    assert "does not answer like a model hub" in refused(hub, tmp_path).message


def test_a_repository_is_not_downloaded_twice_at_the_same_time(hub: HubServer, tmp_path: Path) -> None:
    errors: list[FramematchError] = []

    def meanwhile(*_: object) -> None:
        if not errors:
            errors.append(refused(hub, tmp_path))

    fetch(hub, tmp_path, show=meanwhile)
    assert "another process" in errors[0].message


def build_command(hub: HubServer, folder: Path) -> "subprocess.Popen[str]":
    """`framematch model build --hub` as a separate process."""
    own = {"FRAMEMATCH_CACHE_DIR": str(folder / "cache"), "FRAMEMATCH_STATE_DIR": str(folder / "state")}
    return subprocess.Popen(
        [sys.executable, "-m", "framematch", "model", "build", "--hub", ASKED_AS, "--out", str(folder / "repository")],
        env={**os.environ, **own, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "hf"), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_command_downloads_builds_and_prints_the_commit(
    hub: HubServer, repository: Repository, tmp_path: Path
) -> None:
    output, _ = build_command(hub, tmp_path).communicate(timeout=60)
    assert f"{NAME} at {repository.refs['main']}" in output
    assert "Built clip-vit-base-patch32" in output
    again, _ = build_command(hub, tmp_path).communicate(timeout=60)
    assert "--revision main" in again
    assert len(hub.requests_for(IMAGE)) == 1


def test_an_interrupted_command_can_be_resumed(hub: HubServer, tmp_path: Path) -> None:
    hub.faults.append(Fault(WEIGHTS, "stall", times=1, after_bytes=100_000))
    process = build_command(hub, tmp_path)
    part = "cache/hub/*/*.part/*/" + WEIGHTS
    wait_until(lambda: [path for path in tmp_path.glob(part) if path.stat().st_size == 100_000])
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "resume the download" in output
    assert complete_bundles(tmp_path / "cache") == []
    assert not (tmp_path / "repository").exists()
    build_command(hub, tmp_path).communicate(timeout=60)
    assert [request.headers.get("Range") for request in hub.requests_for(WEIGHTS)] == [None, "bytes=100000-"]
