"""Building Triton's model repository: its content, and that a failure leaves the old one unchanged."""

import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from framematch.core.errors import ModelError
from framematch.core.timestamps import from_rfc3339, now_us
from framematch.model_build.bundles.bundle import Bundle, load_bundle
from framematch.model_build.repository import exchange, repository_folder
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.model_build.repository.repository_folder import read_image_models
from framematch.vision.manifest import BUILT_AT_PARAMETER, ModelManifest
from framematch.vision.served_tokenizer import unpack_tokenizer
from framematch.vision.triton_client import parameters_of
from tests.repositories import manifest_of_folder, read_config, tower_folder, tower_folders
from tests.unit.model_build.bundles import PROCESSOR, BundleFiles, image_only, image_tower, text_tower, weights


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return load_bundle(BundleFiles().write(tmp_path / "small — «clip»"))


def other_bundle(folder: Path) -> Bundle:
    return load_bundle(BundleFiles(image=image_tower(weights(3 * 8 * 8, seed=9))).write(folder))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tower_name(manifest: ModelManifest) -> str:
    return names_of(manifest)[0]


def names_of(manifest: ModelManifest) -> list[str]:
    return [f"{tower}_{manifest.digest[:12]}" for tower in ("clip_image", "clip_text")]


def test_both_towers_are_complete_and_named_by_the_digest(bundle: Bundle, tmp_path: Path) -> None:
    manifest = build_model_repository(bundle, tmp_path / "repository")
    assert set(contents(tmp_path / "repository")) == {
        f"{name}/{file}" for name in names_of(manifest) for file in ("config.pbtxt", "1/model.py", "1/model.onnx")
    }


def test_the_configuration_has_the_manifest_that_build_returns_and_the_time(bundle: Bundle, tmp_path: Path) -> None:
    before_us = now_us()
    built = build_model_repository(bundle, tmp_path / "repository")
    for name in names_of(built):
        config = read_config(tmp_path / "repository" / name)
        assert config.name == name
        assert manifest_of_folder(tmp_path / "repository" / name) == built
        assert before_us <= from_rfc3339(config.parameters[BUILT_AT_PARAMETER].string_value) <= now_us()
    assert built.name == "small — «clip»"


def test_the_text_tower_carries_its_tokenizer(bundle: Bundle, tmp_path: Path) -> None:
    manifest = build_model_repository(bundle, tmp_path / "repository")
    config = read_config(tower_folder(tmp_path / "repository", "clip_text"))
    served = unpack_tokenizer(parameters_of(config), manifest)
    own = bundle.load_tokenizer()
    assert (served.digest, served.settings) == (own.digest, own.settings)
    for mine, theirs in zip(own(["milk", "fresh kiwi"]), served(["milk", "fresh kiwi"]), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_configuration_names_inputs_batching_and_a_warm_up(bundle: Bundle, tmp_path: Path) -> None:
    build_model_repository(bundle, tmp_path / "repository", BuildOptions(max_batch_size=24))
    config = read_config(tower_folder(tmp_path / "repository", "clip_text"))
    assert [item.name for item in config.input] == ["input_ids", "attention_mask"]
    assert config.max_batch_size == 24
    assert list(config.dynamic_batching.preferred_batch_size) == [12, 24]
    assert set(config.model_warmup[0].inputs) == {"input_ids", "attention_mask"}


def test_a_batch_size_of_one_needs_no_dynamic_batching(bundle: Bundle, tmp_path: Path) -> None:
    build_model_repository(bundle, tmp_path / "repository", BuildOptions(max_batch_size=1))
    assert not read_config(tower_folder(tmp_path / "repository")).HasField("dynamic_batching")


def test_the_digest_depends_on_the_graphs_alone(bundle: Bundle, tmp_path: Path) -> None:
    first = build_model_repository(bundle, tmp_path / "a", BuildOptions(max_batch_size=8))
    again = build_model_repository(bundle, tmp_path / "b", BuildOptions(max_batch_size=16))
    other = build_model_repository(other_bundle(tmp_path / "other"), tmp_path / "c")
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_the_served_code_does_not_import_framematch(bundle: Bundle, tmp_path: Path) -> None:
    build_model_repository(bundle, tmp_path / "repository")
    code = (tower_folder(tmp_path / "repository") / "1" / "model.py").read_text()
    imports = [line for line in code.splitlines() if line.startswith(("import ", "from "))]
    assert imports
    assert not [line for line in imports if "framematch" in line]


def test_another_model_stands_beside_the_first_which_does_not_change(bundle: Bundle, tmp_path: Path) -> None:
    first = build_model_repository(bundle, tmp_path / "repository")
    before = contents(tmp_path / "repository")
    second = build_model_repository(other_bundle(tmp_path / "other"), tmp_path / "repository")
    after = contents(tmp_path / "repository")
    assert tower_folders(tmp_path / "repository") == sorted(names_of(first) + names_of(second))
    assert {path: after[path] for path in before} == before


def test_a_build_of_the_same_model_replaces_it_and_is_the_newest(bundle: Bundle, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    build_model_repository(bundle, repository)
    build_model_repository(other_bundle(tmp_path / "other"), repository)
    again = build_model_repository(bundle, repository, BuildOptions("onnx", "fp16", max_batch_size=8))
    models = read_image_models(repository)
    assert len(models) == 2
    newest = max(models, key=lambda model: str(model.built_at))
    assert newest.manifest == again
    assert not (repository / newest.name / "1" / "model.py").exists()


def test_an_image_only_bundle_has_one_tower(tmp_path: Path) -> None:
    manifest = build_model_repository(load_bundle(image_only().write(tmp_path / "b2")), tmp_path / "repository")
    assert [path.name for path in (tmp_path / "repository").iterdir()] == [f"clip_image_{manifest.digest[:12]}"]
    assert manifest.context_length is None


def test_the_same_graphs_with_another_preprocessing_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    build_model_repository(bundle, repository)
    before = contents(repository)
    other = BundleFiles(processor={**PROCESSOR, "resample": 2})
    with pytest.raises(ModelError, match="same graphs with another preprocessing or tokenizer") as caught:
        build_model_repository(load_bundle(other.write(tmp_path / "other")), repository)
    assert "small — «clip»" in caught.value.message
    assert "--out" in caught.value.hint
    assert contents(repository) == before


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


@pytest.mark.parametrize("failing_move", [1, 2])
@pytest.mark.parametrize("same_model", [False, True])
def test_a_failure_of_any_move_leaves_the_old_models_and_nothing_else(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_move: int, same_model: bool
) -> None:
    repository = tmp_path / "served" / "repository"
    build_model_repository(bundle, repository)
    before = contents(repository)
    other = bundle if same_model else other_bundle(tmp_path / "other")
    moves: list[Path] = []

    def failing_once(move: Callable[[Path, Path], object]) -> Callable[[Path, Path], object]:
        def moved(source: Path, target: Path) -> object:
            moves.append(source)
            if len(moves) == failing_move:
                raise OSError(28, "No space left on device")
            return move(source, target)

        return moved

    monkeypatch.setattr(Path, "rename", failing_once(Path.rename))
    monkeypatch.setattr(repository_folder, "exchange", failing_once(exchange.exchange))
    with pytest.raises(ModelError, match="No space left on device"):
        build_model_repository(other, repository)
    assert contents(repository) == before
    assert [path.name for path in repository.parent.iterdir()] == ["repository"]


def test_a_file_system_that_cannot_exchange_folders_replaces_a_model_too(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "served" / "repository"
    build_model_repository(bundle, repository)
    monkeypatch.setattr(exchange, "exchange_at_once", lambda *_: False)
    again = build_model_repository(bundle, repository, BuildOptions(max_batch_size=8))
    assert {manifest_of_folder(repository / name) for name in tower_folders(repository)} == {again}
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


def test_a_model_whose_configuration_is_not_readable_is_replaced(bundle: Bundle, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    build_model_repository(bundle, repository)
    config = tower_folder(repository) / "config.pbtxt"
    config.write_text(config.read_text().replace("format_version", "format_of_old"))
    manifest = build_model_repository(bundle, repository)
    assert manifest_of_folder(tower_folder(repository)) == manifest


def test_what_a_killed_build_left_is_removed_and_a_model_that_it_moved_away_is_back(
    bundle: Bundle, tmp_path: Path
) -> None:
    repository = tmp_path / "served" / "repository"
    first = tower_name(build_model_repository(bundle, repository))
    before = contents(repository / first)
    left = repository.parent / ".repository.staging-killed"
    (left / "old").mkdir(parents=True)
    (left / "half").write_text("half of a file")
    (repository / first).rename(left / "old" / first)
    mine = repository.parent / ".repository-of-mine"
    mine.mkdir()
    build_model_repository(other_bundle(tmp_path / "other"), repository)
    assert contents(repository / first) == before
    assert sorted(path.name for path in repository.parent.iterdir()) == [".repository-of-mine", "repository"]


def test_other_entries_of_the_repository_stay(bundle: Bundle, tmp_path: Path) -> None:
    other_model = tmp_path / "repository" / "their_model" / "config.pbtxt"
    other_model.parent.mkdir(parents=True)
    other_model.write_text("theirs")
    build_model_repository(bundle, tmp_path / "repository")
    assert other_model.read_text() == "theirs"


def test_concurrent_builds_into_one_folder_leave_complete_models(bundle: Bundle, tmp_path: Path) -> None:
    repository = tmp_path / "served" / "repository"
    bundles = [bundle, other_bundle(tmp_path / "other")]
    with ThreadPoolExecutor(max_workers=4) as threads:
        built = list(threads.map(lambda made: build_model_repository(made, repository), bundles * 4))
    assert {name: manifest_of_folder(repository / name) for name in tower_folders(repository)} == {
        name: manifest for manifest in built for name in names_of(manifest)
    }
    assert [path.name for path in repository.parent.iterdir()] == ["repository"]


def test_a_folder_that_cannot_be_written_is_one_clear_error(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="cannot write the model repository"):
        build_model_repository(bundle, tmp_path / "file" / "repository")
