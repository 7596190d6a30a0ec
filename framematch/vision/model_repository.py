"""Builds Triton's model repository from a bundle: `clip_image/` and, with a text tower, `clip_text/`."""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from framematch.core.errors import ModelError
from framematch.vision.build_options import BuildOptions
from framematch.vision.bundle import Bundle
from framematch.vision.manifest import IMAGE_MODEL, TEXT_MODEL, ModelManifest
from framematch.vision.towers import Tower, fold_towers
from framematch.vision.triton_config import config_pbtxt

_WRITE_HINT = "The folder and the one around it must be writable, on one file system and with space left"


def build_model_repository(
    bundle: Bundle,
    destination: Path,
    options: BuildOptions = BuildOptions(),  # noqa: B008  # frozen
    *,
    towers: Mapping[str, Tower] | None = None,
) -> ModelManifest:
    """Write the models of `bundle` into the folder `destination`, and return the manifest that they carry.

    The models are made in full beside the old ones and then take their places by renames: a failure leaves the old
    models as they were. A `clip_text` of another bundle goes away when this one is image-only. `towers` replaces the
    bundle's own fp32 graphs, for instance by quantised ones; `options.precision` says what they are.

    Raises:
        ModelError: a graph is missing, broken or does not fit the rest of the bundle, or the folder is not writable.
    """
    if options.target != "cpu":
        raise ModelError(f"the target {options.target} cannot be built yet", hint="Choose cpu")
    towers = fold_towers(bundle) if towers is None else towers
    manifest = ModelManifest(
        name=bundle.name,
        digest=_digest(towers),
        dimension=bundle.dimension,
        preprocess=bundle.preprocess,
        context_length=bundle.context_length,
        tokenizer_digest=hashlib.sha256(bundle.text.tokenizer.read_bytes()).hexdigest() if bundle.text else None,
        max_batch_size=options.max_batch_size,
    )
    try:
        _write_models(destination.resolve(), towers, manifest)
    except OSError as error:
        raise ModelError(f"cannot write the model repository {destination}: {error}", hint=_WRITE_HINT) from error
    return manifest


def _digest(towers: Mapping[str, Tower]) -> str:
    """Sha256 (hex) over name and graph of each tower, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(towers):
        digest.update(f"{name}\0{len(towers[name].graph)}\0".encode())
        digest.update(towers[name].graph)
    return digest.hexdigest()


def _write_models(destination: Path, towers: Mapping[str, Tower], manifest: ModelManifest) -> None:
    destination.mkdir(parents=True, exist_ok=True)
    # Beside the repository, not in it: a Triton that starts meanwhile would take an unfinished folder for a model.
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as staging:
        for name, tower in towers.items():
            _write_model(Path(staging) / name, tower, manifest)
        _swap_in(Path(staging), destination, list(towers))


def _write_model(folder: Path, tower: Tower, manifest: ModelManifest) -> None:
    version = folder / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(tower.graph)
    shutil.copyfile(Path(__file__).with_name("python_backend.py"), version / "model.py")
    (folder / "config.pbtxt").write_text(config_pbtxt(folder.name, tower.inputs, manifest), encoding="utf-8")


def _swap_in(staging: Path, destination: Path, built: Sequence[str]) -> None:
    """Rename the old models away and the built ones into place; on any failure, everything goes back."""
    old = staging / "old"
    old.mkdir()
    undo: list[tuple[Path, Path]] = []

    def move(source: Path, target: Path) -> None:
        source.rename(target)
        undo.append((target, source))

    try:
        for name in (IMAGE_MODEL, TEXT_MODEL):
            if (destination / name).exists():
                move(destination / name, old / name)
            if name in built:
                move(staging / name, destination / name)
    except OSError:
        for source, target in reversed(undo):
            source.rename(target)
        raise
