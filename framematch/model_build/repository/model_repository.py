"""Builds Triton's model repository from a bundle: one folder for each tower, named by the model's digest."""

import errno
import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from framematch.core.errors import ModelError
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.model_build.bundles.bundle import Bundle
from framematch.model_build.graphs.towers import Tower, digest_of, fold_towers
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.repository_folder import (
    CONFIG_FILE,
    exclusive,
    install,
    read_image_models,
    remove_abandoned,
    staging_prefix,
)
from framematch.model_build.repository.targets import (
    keep_engines,
    remove_unused_files,
    repository_files,
    served_towers,
)
from framematch.vision.manifest import (
    BUILT_AT_PARAMETER,
    IMAGE_MODEL,
    TEXT_MODEL,
    ModelManifest,
    jpeg_names,
    served_name,
)
from framematch.vision.served_tokenizer import pack_tokenizer

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def build_model_repository(
    bundle: Bundle,
    destination: Path,
    options: BuildOptions = BuildOptions(),  # noqa: B008  # frozen
    *,
    towers: Mapping[str, Tower] | None = None,
) -> ModelManifest:
    """Write the model of `bundle` into the folder `destination`, and return its manifest.

    The model is named by its digest and stands beside the others of the repository. Only an earlier build of the same
    model is replaced. The folders are written elsewhere and then renamed into place, so a failure leaves the old models
    unchanged, and the next build removes what a killed one left. Builds into one folder wait for each other. `towers`
    replaces the bundle's fp32 graphs, for instance by quantised ones; `options.precision` is their precision.

    Raises:
        ModelError: a graph is missing or broken, or does not fit the rest of the bundle; the repository has a model of
            the same graphs with another preprocessing or tokenizer; or the folder is not writable.
    """
    towers = fold_towers(bundle) if towers is None else towers
    manifest = manifest_of(bundle, towers, options)
    served = served_towers(towers, options)
    try:
        destination = destination.resolve()
        destination.mkdir(parents=True, exist_ok=True)
        with exclusive(destination):
            remove_abandoned(destination)
            _require_same_space(destination, manifest)
            parameters = _parameters(bundle, towers)
            _add_model(destination, repository_files(served, manifest, options, parameters), manifest)
    except OSError as error:
        raise _not_written(destination, error) from error
    return manifest


def manifest_of(bundle: Bundle, towers: Mapping[str, Tower], options: BuildOptions) -> ModelManifest:
    """The manifest of a build of `towers`, the graphs of `bundle`."""
    return ModelManifest(
        name=bundle.name,
        digest=digest_of(towers),
        dimension=bundle.dimension,
        preprocess=bundle.preprocess,
        context_length=bundle.context_length,
        tokenizer_digest=hashlib.sha256(bundle.text.tokenizer.read_bytes()).hexdigest() if bundle.text else None,
        max_batch_size=options.max_batch_size,
        precision=options.served_precision,
        target=options.target,
    )


def _parameters(bundle: Bundle, towers: Mapping[str, Tower]) -> dict[str, dict[str, str]]:
    """What the configuration of each tower has beside the manifest, by tower."""
    parameters = {tower: {BUILT_AT_PARAMETER: to_rfc3339(now_us())} for tower in towers}
    if bundle.text is not None:
        tokenizer = bundle.load_tokenizer()
        parameters[TEXT_MODEL] |= pack_tokenizer(bundle.text.tokenizer.read_bytes(), tokenizer.settings)
    return parameters


def _require_same_space(destination: Path, manifest: ModelManifest) -> None:
    name = served_name(IMAGE_MODEL, manifest.digest)
    found = next((model for model in read_image_models(destination) if model.name == name), None)
    if found is None or found.manifest is None or found.manifest.same_space(manifest):
        return
    raise ModelError(
        f"{destination / name} has the same graphs with another preprocessing or tokenizer: it was built from "
        f"{found.manifest.name}, and an index may need it",
        hint="Build into another repository with --out, or remove the old model with `framematch model prune` when no "
        "snapshot needs it",
    )


def _add_model(destination: Path, files: Mapping[str, bytes], manifest: ModelManifest) -> None:
    # Beside the repository, because a Triton that starts meanwhile would take an unfinished folder in it for a model.
    with tempfile.TemporaryDirectory(prefix=staging_prefix(destination), dir=destination.parent) as staging:
        for path, content in files.items():
            _write(Path(staging) / path, content)
        keep_engines(destination, Path(staging))
        install(Path(staging), destination)
        # Those of an earlier build of the same model may have other batches than the image tower has now.
        for name in jpeg_names(manifest.digest):
            if f"{name}/{CONFIG_FILE}" not in files and (destination / name).exists():
                (destination / name).rename(Path(staging) / name)
    remove_unused_files(destination)


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    if content.startswith(b"#!"):
        file.chmod(0o755)


def _not_written(destination: Path, error: OSError) -> ModelError:
    message = f"cannot write the model repository {destination}: {error.strerror or error}"
    if error.errno in _FULL:
        return ModelError(message, hint="Free some space there, or give another folder; the old models are unchanged")
    return ModelError(message, hint="The folder and the one around it must be writable and on one file system")
