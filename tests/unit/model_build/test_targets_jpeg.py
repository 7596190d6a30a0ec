"""What `--jpeg` adds to a repository: two models, and the code that Triton runs."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest
from tritonclient.grpc import model_config_pb2

from framematch.model_build.bundles.bundle import Bundle, load_bundle
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.model_build.repository.repository_folder import read_image_models, remove_models
from framematch.model_build.repository.targets.jpeg import COPIED_MODULES, GPU_CODE, SERVED_CODE
from framematch.vision.manifest import JPEG_PARAMETER
from framematch.vision.preprocess import Preprocessor
from framematch.vision.region_rows import JpegManifest
from tests.repositories import read_config, tower_folder, tower_folders
from tests.unit.model_build.bundles import DIMENSION, SIDE, BundleFiles

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return load_bundle(BundleFiles().write(tmp_path / "small"))


def imports_of(source: Path) -> set[str]:
    """The modules of framematch that a file imports when it is loaded, with the packages around them."""
    found: set[str] = set()
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("framematch"):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            found |= {name for name in names if importlib.util.find_spec(name.rpartition(".")[0]) and is_module(name)}
    return {".".join(name.split(".")[:depth]) for name in found for depth in range(1, name.count(".") + 2)}


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def file_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def test_the_copied_modules_are_those_that_the_served_code_imports_and_they_import() -> None:
    needed, seen = imports_of(SERVED_CODE), set[str]()
    while unseen := needed - seen:
        seen |= unseen
        needed |= {name for module in unseen for name in imports_of(file_of(module))}
    assert sorted(needed) == sorted(COPIED_MODULES)


def test_the_copies_are_those_of_the_package(bundle: Bundle, tmp_path: Path) -> None:
    build_model_repository(bundle, tmp_path / "r", BuildOptions(jpeg="fast"))
    folder = tower_folder(tmp_path / "r", "clip_decode") / "1"
    copies = {path.relative_to(folder): path.read_text() for path in folder.rglob("framematch/**/*.py")}
    assert len(copies) == len(COPIED_MODULES)
    assert copies == {path: (ROOT / path).read_text() for path in copies}


@pytest.mark.parametrize("name", ["msgspec", "opencv-python-headless", "pillow", "simplejpeg"])
def test_triton_decodes_with_the_versions_of_the_consumer(name: str) -> None:
    triton = pins(ROOT / "framematch" / "stack" / "triton-requirements.txt")
    assert triton[name] == pins(ROOT / "requirements" / "consumer-cpu.txt")[name]


def test_jpegs_are_decoded_in_one_step_and_embedded_in_the_other(bundle: Bundle, tmp_path: Path) -> None:
    build_model_repository(bundle, tmp_path / "r", BuildOptions(max_batch_size=8, jpeg="fast"))
    decode, whole, image = (tower_folder(tmp_path / "r", name) for name in ("clip_decode", "clip_jpeg", "clip_image"))
    steps = read_config(whole).ensemble_scheduling.step
    assert [step.model_name for step in steps] == [decode.name, image.name]
    assert [dict(steps[1].input_map), dict(steps[1].output_map)] == [{"pixels": "pixels"}, {"embedding": "embedding"}]
    outputs = {item.name: list(item.dims) for item in read_config(whole).output}
    assert outputs == {"embedding": [DIMENSION], "content": [1], "quality": [1], "problem": [1]}
    assert {item.name: list(item.dims) for item in read_config(decode).output}["pixels"] == [SIDE, SIDE, 3]
    assert list(read_config(decode).input) == list(read_config(whole).input)
    assert {read_config(folder).max_batch_size for folder in (decode, whole, image)} == {8}


@pytest.mark.parametrize("variant", ["fast", "exact"])
def test_the_configuration_says_how_pictures_are_prepared(bundle: Bundle, tmp_path: Path, variant: str) -> None:
    known = {"fast": BuildOptions(jpeg="fast"), "exact": BuildOptions(jpeg="exact", jpeg_max_pixels=7)}
    build_model_repository(bundle, tmp_path / "r", known[variant])
    parameters = read_config(tower_folder(tmp_path / "r", "clip_jpeg")).parameters
    own = JpegManifest.from_json(parameters[JPEG_PARAMETER].string_value)
    digest = Preprocessor(bundle.preprocess, own.variant).digest
    assert own == JpegManifest("libjpeg-turbo", own.variant, digest, known[variant].jpeg_max_pixels)
    assert own.variant == variant


def test_a_build_of_the_same_model_without_the_option_removes_what_it_added(bundle: Bundle, tmp_path: Path) -> None:
    build_model_repository(bundle, tmp_path / "r", BuildOptions(jpeg="fast"))
    build_model_repository(bundle, tmp_path / "r", BuildOptions(max_batch_size=4))
    names = [name.rpartition("_")[0] for name in tower_folders(tmp_path / "r")]
    assert names == ["clip_image", "clip_text"]


def test_a_removed_model_leaves_no_folder(bundle: Bundle, tmp_path: Path) -> None:
    build_model_repository(bundle, tmp_path / "r", BuildOptions(jpeg="fast"))
    remove_models(tmp_path / "r", read_image_models(tmp_path / "r"))
    assert tower_folders(tmp_path / "r") == []


def test_a_model_that_decodes_on_a_gpu_has_the_client_s_preprocessing_and_a_digest_of_its_own(
    bundle: Bundle, tmp_path: Path
) -> None:
    build_model_repository(bundle, tmp_path / "r", BuildOptions(jpeg="gpu"))
    decode = tower_folder(tmp_path / "r", "clip_decode")
    own = JpegManifest.from_json(read_config(decode).parameters[JPEG_PARAMETER].string_value)
    fast = Preprocessor(bundle.preprocess, "fast").digest
    assert (own.preprocessing, own.is_exact, own.digest == fast) == (fast, False, False)
    assert [group.kind for group in read_config(decode).instance_group] == [
        model_config_pb2.ModelInstanceGroup.KIND_GPU
    ]
    assert (decode / "1" / "gpu_decoder.py").read_bytes() == GPU_CODE.read_bytes()
    assert imports_of(GPU_CODE) <= set(COPIED_MODULES)
