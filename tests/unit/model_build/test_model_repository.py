"""Building Triton's model repository: its content, and that a failure leaves the old one unchanged."""

import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]  # publishes no types
from tritonclient.grpc import model_config_pb2

from framematch.core.errors import ModelError
from framematch.model_build.bundles.bundle import Bundle, load_bundle
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.vision.manifest import MANIFEST_PARAMETER, ModelManifest
from tests.unit.model_build.bundles import BundleFiles, image_only, image_tower, text_tower, weights


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return load_bundle(BundleFiles().write(tmp_path / "small — «clip»"))


def other_bundle(folder: Path) -> Bundle:
    return load_bundle(BundleFiles(image=image_tower(weights(3 * 8 * 8, seed=9))).write(folder))


def read_config(model: Path) -> model_config_pb2.ModelConfig:
    return text_format.Parse((model / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_both_models_are_complete(bundle: Bundle, tmp_path: Path) -> None:
    build_model_repository(bundle, tmp_path / "repository")
    assert set(contents(tmp_path / "repository")) == {
        f"{model}/{file}"
        for model in ("clip_image", "clip_text")
        for file in ("config.pbtxt", "1/model.py", "1/model.onnx")
    }


def test_the_configuration_has_the_manifest_that_build_returns(bundle: Bundle, tmp_path: Path) -> None:
    built = build_model_repository(bundle, tmp_path / "repository")
    for name in ("clip_image", "clip_text"):
        config = read_config(tmp_path / "repository" / name)
        assert config.name == name
        assert ModelManifest.from_json(config.parameters[MANIFEST_PARAMETER].string_value) == built
    assert built.name == "small — «clip»"


def test_the_configuration_names_inputs_batching_and_a_warm_up(bundle: Bundle, tmp_path: Path) -> None:
    build_model_repository(bundle, tmp_path / "repository", BuildOptions(max_batch_size=24))
    config = read_config(tmp_path / "repository" / "clip_text")
    assert [item.name for item in config.input] == ["input_ids", "attention_mask"]
    assert config.max_batch_size == 24
    assert list(config.dynamic_batching.preferred_batch_size) == [12, 24]
    assert set(config.model_warmup[0].inputs) == {"input_ids", "attention_mask"}


def test_a_batch_size_of_one_needs_no_dynamic_batching(bundle: Bundle, tmp_path: Path) -> None:
    build_model_repository(bundle, tmp_path / "repository", BuildOptions(max_batch_size=1))
    assert not read_config(tmp_path / "repository" / "clip_image").HasField("dynamic_batching")


def test_the_digest_depends_on_the_graphs_alone(bundle: Bundle, tmp_path: Path) -> None:
    first = build_model_repository(bundle, tmp_path / "a", BuildOptions(max_batch_size=8))
    again = build_model_repository(bundle, tmp_path / "b", BuildOptions(max_batch_size=16))
    other = build_model_repository(other_bundle(tmp_path / "other"), tmp_path / "c")
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_the_served_code_does_not_import_framematch(bundle: Bundle, tmp_path: Path) -> None:
    build_model_repository(bundle, tmp_path / "repository")
    code = (tmp_path / "repository" / "clip_image" / "1" / "model.py").read_text()
    imports = [line for line in code.splitlines() if line.startswith(("import ", "from "))]
    assert imports
    assert not [line for line in imports if "framematch" in line]


def test_a_second_build_replaces_the_first(bundle: Bundle, tmp_path: Path) -> None:
    build_model_repository(bundle, tmp_path / "repository")
    manifest = build_model_repository(other_bundle(tmp_path / "other"), tmp_path / "repository")
    config = read_config(tmp_path / "repository" / "clip_image")
    assert ModelManifest.from_json(config.parameters[MANIFEST_PARAMETER].string_value) == manifest


def test_an_image_only_bundle_removes_the_text_model_of_another(bundle: Bundle, tmp_path: Path) -> None:
    build_model_repository(bundle, tmp_path / "repository")
    manifest = build_model_repository(load_bundle(image_only().write(tmp_path / "b2")), tmp_path / "repository")
    assert [path.name for path in (tmp_path / "repository").iterdir()] == ["clip_image"]
    assert manifest.context_length is None


def test_a_broken_graph_leaves_the_old_models(bundle: Bundle, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    build_model_repository(bundle, repository)
    before = contents(repository)
    broken = BundleFiles().write(tmp_path / "broken")
    (broken / "onnx" / "text_model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match=r"text_model\.onnx is not a readable ONNX graph"):
        build_model_repository(load_bundle(broken), repository)
    assert contents(repository) == before


def test_a_graph_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = BundleFiles().write(tmp_path / "mixed")
    onnx.save(text_tower(), folder / "onnx" / "vision_model.onnx")
    with pytest.raises(ModelError, match="expected pixel_values"):
        build_model_repository(load_bundle(folder), tmp_path / "repository")


@pytest.mark.parametrize("failing_move", [1, 2, 3, 4])
def test_a_failure_of_any_rename_leaves_the_old_models_and_nothing_else(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_move: int
) -> None:
    repository = tmp_path / "served" / "repository"
    build_model_repository(bundle, repository)
    before = contents(repository)
    other = other_bundle(tmp_path / "other")
    moves: list[Path] = []
    rename = Path.rename

    def fails_once(self: Path, target: Path) -> Path:
        moves.append(self)
        if len(moves) == failing_move:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_once)
    with pytest.raises(ModelError, match="No space left on device"):
        build_model_repository(other, repository)
    assert contents(repository) == before
    assert [path.name for path in repository.parent.iterdir()] == ["repository"]


def test_a_full_disk_is_one_clear_error_and_leaves_the_old_models(bundle: Bundle, tmp_path: Path) -> None:
    """A limit on the size of files makes the kernel refuse a write, as a full disk does."""
    repository = tmp_path / "served" / "repository"
    build_model_repository(bundle, repository)
    before = contents(repository)
    other = other_bundle(tmp_path / "other")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(ModelError, match="cannot write the model repository") as caught:
            build_model_repository(other, repository)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "Free some space" in caught.value.hint
    assert contents(repository) == before
    assert [path.name for path in repository.parent.iterdir()] == ["repository"]


def test_a_repository_of_another_version_is_replaced(bundle: Bundle, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    build_model_repository(bundle, repository)
    config = repository / "clip_image" / "config.pbtxt"
    config.write_text(config.read_text().replace("format_version", "format_of_old"))
    (repository / "clip_image" / "1" / "model.graph").write_text("as an older version named it")
    manifest = build_model_repository(bundle, repository)
    carried = read_config(repository / "clip_image").parameters[MANIFEST_PARAMETER].string_value
    assert ModelManifest.from_json(carried) == manifest
    assert not (repository / "clip_image" / "1" / "model.graph").exists()


def test_other_entries_of_the_repository_stay(bundle: Bundle, tmp_path: Path) -> None:
    other_model = tmp_path / "repository" / "their_model" / "config.pbtxt"
    other_model.parent.mkdir(parents=True)
    other_model.write_text("theirs")
    build_model_repository(bundle, tmp_path / "repository")
    assert other_model.read_text() == "theirs"


def test_concurrent_builds_into_one_folder_leave_the_models_of_one(bundle: Bundle, tmp_path: Path) -> None:
    repository = tmp_path / "served" / "repository"
    bundles = [bundle, other_bundle(tmp_path / "other")]
    with ThreadPoolExecutor(max_workers=4) as threads:
        built = list(threads.map(lambda made: build_model_repository(made, repository), bundles * 4))
    carried = {
        ModelManifest.from_json(read_config(repository / name).parameters[MANIFEST_PARAMETER].string_value).digest
        for name in ("clip_image", "clip_text")
    }
    assert len(carried) == 1
    assert carried < {manifest.digest for manifest in built}
    assert [path.name for path in repository.parent.iterdir()] == ["repository"]


def test_a_folder_that_cannot_be_written_is_one_clear_error(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="cannot write the model repository"):
        build_model_repository(bundle, tmp_path / "file" / "repository")
