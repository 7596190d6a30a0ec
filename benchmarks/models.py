"""The models that Triton serves while something is measured, built by `framematch model build`."""

import shutil
from pathlib import Path

from benchmarks.vit_b32 import VitShape, write_vit_bundle
from demo.dataset import BUNDLE_DIR, DATA_DIR, load_photos
from demo.services import run_framematch, service_environment
from framematch.model_build.repository.repository_folder import read_image_models

MODELS = ("b32", "b32-int8", "demo", "demo-int8", "light")
_CALIBRATION_PHOTOS = 32  # half of them calibrate, the others judge
_SHAPES = {
    "b32": VitShape(),
    # Pictures and embeddings have ViT-B/32's size, but one narrow layer computes next to nothing.
    "light": VitShape(layers=1, width=64, heads=4, mlp=128),
}


def build_model(name: str, repository: Path, *, max_batch_size: int) -> None:
    """Write Triton's model repository with one of `MODELS`; files that are needed for it go beside it."""
    base, _, precision = name.partition("-")
    folder = repository.parent
    options: dict[str, object] = {"from": _bundle(base, folder), "out": repository, "max-batch-size": max_batch_size}
    if precision:
        options |= {"precision": precision, "calibration": _calibration_photos(folder)}
    arguments = [f"--{option}={value}" for option, value in options.items()]
    run_framematch("model", "build", *arguments, environment=service_environment(folder / "build-state"))


def newest_model(repository: Path) -> Path:
    """The folder of the newest built image model in Triton's model repository."""
    built = {model.built_at: model.name for model in read_image_models(repository) if model.built_at is not None}
    return repository / built[max(built)]


def _bundle(base: str, folder: Path) -> Path:
    if base == "demo":
        return BUNDLE_DIR
    bundle = folder / f"vit-{base}"
    if not bundle.exists():
        write_vit_bundle(bundle, _SHAPES[base])
    return bundle


def _calibration_photos(folder: Path) -> Path:
    photos = folder / "calibration"
    photos.mkdir(exist_ok=True)
    for photo in load_photos()[:_CALIBRATION_PHOTOS]:
        shutil.copy(DATA_DIR / photo.file, photos)
    return photos
