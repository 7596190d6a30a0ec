"""Which files of a hub's repository make a bundle, and the files on disk. Without a server."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from framematch.core.errors import ModelError, UnavailableError, UsageError
from framematch.model_build.hub.client import HubClient, RemoteFile, RemoteRepository, checked_name
from framematch.model_build.hub.download import HubBundle, download_bundle
from framematch.model_build.hub.files import ONNX_EXPORTS, bundle_files
from framematch.model_build.hub.store import HubStore, git_sha1_of, sha256_of

COMMIT = "c" * 40
CONTENT = b"the same in every file"
CLIP_FILES = (
    "config.json", "preprocessor_config.json", "tokenizer.json", "onnx/vision_model.onnx", "onnx/text_model.onnx",
)  # fmt: skip


def repository(names: Iterable[str], digest: str = "") -> RemoteRepository:
    files = (RemoteFile(name, len(CONTENT), digest, "git-sha1") for name in names)
    return RemoteRepository("me/clip", COMMIT, tuple(files))


def chosen(*names: str) -> set[str]:
    return {file.path for file in bundle_files(repository(names))}


class FakeHub(HubClient):
    """A client for a repository with one commit."""

    def __init__(self, found: RemoteRepository) -> None:
        super().__init__("http://nowhere.invalid")
        self._found = found

    def repository(self, name: str, revision: str) -> RemoteRepository:
        del name, revision
        return self._found

    def fetch(self, repository: RemoteRepository, file: RemoteFile, target: Path, show: Callable[[int], None]) -> None:
        del repository
        target.write_bytes(CONTENT)
        show(file.size_bytes)


def fetch(cache: Path, name: str = "me/clip") -> HubBundle:
    cache.mkdir(exist_ok=True)
    (cache / "content").write_bytes(CONTENT)
    hub = FakeHub(repository(CLIP_FILES, git_sha1_of(cache / "content")))
    return download_bundle(name, revision=None, cache=cache, progress=lambda *_: None, client=hub)


def test_other_precisions_and_frameworks_are_left_out() -> None:
    others = ("onnx/vision_model_fp16.onnx", "onnx/model.onnx", "pytorch_model.bin", "README.md", "vocab.json")
    assert chosen(*CLIP_FILES, *others) == set(CLIP_FILES)


@pytest.mark.parametrize(
    "name", ["onnx/vision_model.onnx_data", "onnx/text_model.onnx.data", "onnx/text_model.onnx_data_1"]
)
def test_weights_beside_a_graph_are_chosen(name: str) -> None:
    assert name in chosen(*CLIP_FILES, name)


def test_weights_with_another_path_are_left_out() -> None:
    assert chosen(*CLIP_FILES, "onnx/vision_model.onnx_data/../../../../evil") == set(CLIP_FILES)


def test_an_export_without_a_text_tower_needs_no_tokenizer() -> None:
    names = ("config.json", "preprocessor_config.json", "onnx/vision_model.onnx")
    assert chosen(*names) == set(names)


def test_an_openclip_export_has_its_own_settings() -> None:
    names = ("open_clip_config.json", "tokenizer.json", "visual/model.onnx", "textual/model.onnx")
    assert chosen(*names) == set(names)


def test_an_export_of_one_graph_for_both_towers_is_refused_with_what_was_found() -> None:
    with pytest.raises(ModelError, match=r"lacks onnx/vision_model.onnx \(found: onnx/model.onnx\)"):
        chosen("config.json", "preprocessor_config.json", "onnx/model.onnx")


def test_a_text_tower_without_a_tokenizer_is_refused() -> None:
    with pytest.raises(ModelError, match=r"lacks tokenizer.json"):
        chosen(*(name for name in CLIP_FILES if name != "tokenizer.json"))


@pytest.mark.parametrize("name", ["../clip", "me/clip/more", "/etc", "me/..", "", "me clip"])
def test_an_invalid_name_of_a_repository_is_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        checked_name(name)


def test_the_models_of_the_documentation_have_exports() -> None:
    assert ONNX_EXPORTS["openai/clip-vit-large-patch14"] == "Xenova/clip-vit-large-patch14"


def test_a_blob_has_the_id_that_git_gives_it(tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert git_sha1_of(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_complete_bundle_records_its_origin(tmp_path: Path) -> None:
    found = fetch(tmp_path)
    source = (found.path / "source.json").read_text()
    assert found.path.name == "clip"
    assert all(part in source for part in ("me/clip", COMMIT, sha256_of(found.path / "config.json")))


def test_a_bundle_in_a_read_only_cache_is_used(tmp_path: Path) -> None:
    path = fetch(tmp_path).path
    (tmp_path / "hub" / "me--clip" / "lock").unlink()
    (tmp_path / "hub" / "me--clip").chmod(0o500)
    try:
        assert fetch(tmp_path).path == path
        assert not (tmp_path / "hub" / "me--clip" / "lock").exists()
    finally:
        (tmp_path / "hub" / "me--clip").chmod(0o700)


def test_a_bundle_that_lost_a_file_is_refused(tmp_path: Path) -> None:
    (fetch(tmp_path).path / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config.json cannot be read") as caught:
        fetch(tmp_path)
    assert "Delete" in caught.value.hint


def test_a_full_disk_is_reported_before_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("framematch.model_build.hub.download.shutil.disk_usage", lambda _: usage)
    with pytest.raises(ModelError, match="not enough disk space") as caught:
        fetch(tmp_path)
    assert "FRAMEMATCH_CACHE_DIR" in caught.value.hint


def test_a_cache_that_is_not_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("in the way")
    with pytest.raises(ModelError, match="cannot be written"):
        fetch(tmp_path)


def test_a_second_download_of_a_repository_is_refused_while_one_runs(tmp_path: Path) -> None:
    with HubStore(tmp_path, "me/clip").locked(), pytest.raises(UnavailableError, match="another process"):
        fetch(tmp_path)
