"""The models that Triton serves while the consumer is measured, and how each is built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.vit_b32 import VitShape, cached_bundle, write_vit_bundle
from demo.dataset import BUNDLE_DIR, DATA_DIR, load_photos
from framematch.catalog.images import decode_rgb
from framematch.model_build.bundles.bundle import Bundle, load_bundle
from framematch.model_build.graphs.towers import Tower, fold_towers
from framematch.model_build.int8 import quantize
from framematch.model_build.repository.build_options import BuildOptions, CpuPlan
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.vision.manifest import IMAGE_MODEL, Precision
from framematch.vision.preprocess import Preprocessor
from stack.cache import cached_folder, digest_of

_CALIBRATION_PICTURES = 16
_GRAPH = "image.onnx"

# Pictures and embeddings are those of ViT-B/32, but one narrow layer computes next to nothing.
LIGHT = VitShape(layers=1, width=64, heads=4, mlp=128)


@dataclass(frozen=True)
class Model:
    """A bundle, written into a folder or found elsewhere; the precision and the instances in which it is served."""

    bundle: Callable[[Path], Path]
    precision: Precision = "fp32"
    instances: int = 1

    def build(self, folder: Path, *, max_batch_size: int) -> Bundle:
        """Write Triton's model repository into `folder`/model_repository; the image tower alone.

        Raises:
            ModelError: the bundle cannot be read, folded or quantised.
        """
        bundle = replace(load_bundle(self.bundle(folder)), text=None)
        tower = fold_towers(bundle)[IMAGE_MODEL]
        if self.precision == "int8":
            tower = _quantised(tower, bundle)
        options = BuildOptions(
            precision=self.precision, max_batch_size=max_batch_size, cpu_plan=CpuPlan(instances=self.instances)
        )
        build_model_repository(bundle, folder / "model_repository", options, towers={IMAGE_MODEL: tower})
        return bundle


def _quantised(tower: Tower, bundle: Bundle) -> Tower:
    """As int8, which takes half a minute for ViT-B/32 and is kept in the cache."""
    preprocessor = Preprocessor(bundle.preprocess)
    photos = [DATA_DIR / photo.file for photo in load_photos()[:_CALIBRATION_PICTURES]]
    pictures = np.stack([preprocessor(decode_rgb(photo.read_bytes())) for photo in photos])
    folder = cached_folder(
        "benchmarks-int8",
        digest_of(tower.graph, pictures.tobytes(), Path(quantize.__file__).read_bytes(), onnxruntime.__version__),
        lambda temporary: _write(temporary, quantize.quantize_image_tower(tower.graph, pictures)),
        report=print,
        note=f"making the int8 model of {bundle.name} (once)",
    )
    return replace(tower, graph=(folder / _GRAPH).read_bytes())


def _write(folder: Path, graph: bytes) -> None:
    (folder / _GRAPH).write_bytes(graph)


def _light_bundle(folder: Path) -> Path:
    write_vit_bundle(folder / "vit-light", LIGHT)
    return folder / "vit-light"


MODELS: Mapping[str, Model] = {
    "b32": Model(lambda _folder: cached_bundle()),
    "b32-int8": Model(lambda _folder: cached_bundle(), "int8"),
    "demo": Model(lambda _folder: BUNDLE_DIR),
    "demo-int8": Model(lambda _folder: BUNDLE_DIR, "int8"),
    "light": Model(_light_bundle),
}
