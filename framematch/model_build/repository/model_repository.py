"""Builds Triton's model repository from a bundle: `clip_image/` and, with a text tower, `clip_text/`."""

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from framematch.core.errors import ModelError
from framematch.model_build.bundles.bundle import Bundle
from framematch.model_build.graphs.towers import Tower, digest_of, fold_towers
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.targets import REPOSITORY_FILES, repository_files, served_towers
from framematch.vision.manifest import IMAGE_MODEL, TEXT_MODEL, ModelManifest

# The entries of a repository that a build replaces. It does not touch any others.
_OWNED = (IMAGE_MODEL, TEXT_MODEL, *REPOSITORY_FILES)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def build_model_repository(
    bundle: Bundle,
    destination: Path,
    options: BuildOptions = BuildOptions(),  # noqa: B008  # frozen
    *,
    towers: Mapping[str, Tower] | None = None,
) -> ModelManifest:
    """Write the models of `bundle` into the folder `destination`, and return their manifest.

    The new models are written beside the old ones and then renamed into place, so a failure leaves the old models
    unchanged. Entries that this bundle or target does not have are removed: `clip_text`, TensorRT's engines and
    script. Of concurrent builds into one folder the last to finish wins, completely. `towers` replaces the bundle's
    fp32 graphs, for instance by quantised ones; `options.precision` is their precision.

    Raises:
        ModelError: a graph is missing or broken, or does not fit the rest of the bundle, or the folder is not writable.
    """
    towers = fold_towers(bundle) if towers is None else towers
    manifest = manifest_of(bundle, towers, options)
    files = repository_files(served_towers(towers, options), manifest, options)
    try:
        _replace_models(destination.resolve(), files)
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


def _replace_models(destination: Path, files: Mapping[str, bytes]) -> None:
    destination.mkdir(parents=True, exist_ok=True)
    # Beside the repository, because a Triton that starts meanwhile would take an unfinished folder in it for a model.
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as staging:
        for path, content in files.items():
            _write(Path(staging) / path, content)
        with _exclusive(destination):
            _swap_in(Path(staging), destination)


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    if content.startswith(b"#!"):
        file.chmod(0o755)


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Wait until no other build writes to `folder`. The lock is on the folder itself, so there is no lock file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _swap_in(staging: Path, destination: Path) -> None:
    """Rename the old models to another folder and the new ones into place; on any failure, undo all renames."""
    old = staging / "old"
    old.mkdir()
    undo: list[tuple[Path, Path]] = []

    def move(source: Path, target: Path) -> None:
        source.rename(target)
        undo.append((target, source))

    try:
        for name in _OWNED:
            if (destination / name).exists():
                move(destination / name, old / name)
            if (staging / name).exists():
                move(staging / name, destination / name)
    except BaseException:
        for source, target in reversed(undo):
            source.rename(target)
        raise


def _not_written(destination: Path, error: OSError) -> ModelError:
    message = f"cannot write the model repository {destination}: {error.strerror or error}"
    if error.errno in _FULL:
        return ModelError(message, hint="Free some space there, or give another folder; the old models are unchanged")
    return ModelError(message, hint="The folder and the one around it must be writable and on one file system")
