"""The models that Triton serves while something is measured, built by `framematch model build`."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.vit_b32 import VitShape, write_vit_bundle
from demo.dataset import BUNDLE_DIR, DATA_DIR, load_photos
from demo.services import run_framematch, service_environment

MODELS = ("b32", "b32-int8", "demo", "demo-int8", "light")
_CALIBRATION_PHOTOS = 32  # half of them calibrate, the others judge
_SHAPES = {
    "b32": VitShape(),
    # Pictures and embeddings have ViT-B/32's size, but one narrow layer computes next to nothing.
    "light": VitShape(layers=1, width=64, heads=4, mlp=128),
}


@dataclass(frozen=True)
class ModelBuild:
    """One of `MODELS`, to be served in batches of at most `max_batch_size`."""

    name: str
    max_batch_size: int

    def into(self, repository: Path) -> None:
        """Write Triton's model repository; files that are needed for it go beside it."""
        base, _, precision = self.name.partition("-")
        work = repository.parent
        options: Mapping[str, object] = {
            "from": _bundle(base, work),
            "out": repository,
            "max-batch-size": self.max_batch_size,
            **({"precision": precision, "calibration": _calibration_photos(work)} if precision else {}),
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        run_framematch("model", "build", *arguments, environment=service_environment(work / "build-state"))


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
