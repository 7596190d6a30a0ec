"""The folder of a model repository: which models it has, and how one is added or removed while Triton serves it."""

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from google.protobuf import text_format  # type: ignore[import-untyped]  # publishes no types
from tritonclient.grpc import model_config_pb2

from framematch.core.errors import ModelError
from framematch.model_build.repository.exchange import OLD, exchange
from framematch.vision.manifest import DECODE_MODEL, IMAGE_MODEL, JPEG_MODEL, TEXT_MODEL, ModelManifest
from framematch.vision.served_models import described
from framematch.vision.triton_client import parameters_of

CONFIG_FILE = "config.pbtxt"


@dataclass(frozen=True)
class RepositoryModel:
    """The image tower of a model in a repository. Without a manifest its configuration is not usable: `problem`."""

    name: str
    manifest: ModelManifest | None
    built_at: datetime | None
    problem: str = ""

    @property
    def folders(self) -> tuple[str, ...]:
        """The names of the model's folders, those first that need others. Only that of the image tower must exist."""
        number = self.name.removeprefix(IMAGE_MODEL)
        return (JPEG_MODEL + number, DECODE_MODEL + number, self.name, TEXT_MODEL + number)


def read_image_models(repository: Path) -> list[RepositoryModel]:
    """The models of ours in the folder `repository`, also one of an older version (`clip_image`); sorted by name."""
    names = sorted(path.parent.name for path in repository.glob(f"{IMAGE_MODEL}*/{CONFIG_FILE}"))
    return [_read(repository, name) for name in names if name == IMAGE_MODEL or name.startswith(f"{IMAGE_MODEL}_")]


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Wait until no other process changes `folder`. The lock is on the folder itself, so there is no lock file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def staging_prefix(repository: Path) -> str:
    """How the names of the folders beside `repository` begin in which models are staged."""
    return f".{repository.name}.staging-"


def remove_abandoned(repository: Path) -> None:
    """Remove what a killed build or removal left beside `repository`. The caller has it `exclusive`.

    A model that the killed one had moved away, but not yet replaced, is moved back.
    """
    for staging in repository.parent.glob(f"{glob.escape(staging_prefix(repository))}*/"):
        if staging.lstat().st_uid != os.geteuid():  # in a folder for all, it may be anything
            continue
        for old in staging.glob(f"{OLD}/*"):
            if not (repository / old.name).exists():
                old.rename(repository / old.name)
        shutil.rmtree(staging)


def install(staging: Path, repository: Path) -> None:
    """Move every entry of `staging` into `repository`; on any failure, undo that.

    An entry of the same name is replaced in one step, where the file system can, and then lies in `staging`.
    """
    names = sorted(path.name for path in staging.iterdir())
    # The image tower comes last: it is what clients find a model by.
    names.sort(key=lambda name: name.startswith(IMAGE_MODEL))
    undo: list[tuple[Path, Path, bool]] = []
    try:
        for name in names:
            new, place = staging / name, repository / name
            replaces = place.exists()
            exchange(new, place) if replaces else new.rename(place)
            undo.append((place, new, replaces))
    except BaseException:
        for place, new, replaced in reversed(undo):
            exchange(place, new) if replaced else place.rename(new)
        raise


def remove_models(repository: Path, models: Iterable[RepositoryModel]) -> None:
    """Delete `models`, each folder at once: a Triton that starts meanwhile sees no half of one.

    One that was built again since it was read stays.

    Raises:
        ModelError: the folder, or the one around it, is not writable.
    """
    try:
        with exclusive(repository):
            remove_abandoned(repository)
            current = read_image_models(repository)
            with tempfile.TemporaryDirectory(prefix=staging_prefix(repository), dir=repository.parent) as removed:
                for name in (name for model in models if model in current for name in model.folders):
                    if (repository / name).exists():
                        (repository / name).rename(Path(removed) / name)
    except OSError as error:
        raise ModelError(
            f"cannot remove models from {repository}: {error.strerror or error}",
            hint="The folder and the one around it must be writable and on one file system",
        ) from error


def _read(repository: Path, name: str) -> RepositoryModel:
    if name == IMAGE_MODEL:
        return RepositoryModel(name, None, None, "an older version of framematch built it, and none uses it any more")
    try:
        text = (repository / name / CONFIG_FILE).read_text(encoding="utf-8")
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
        served = described(name, parameters_of(config))
    except (OSError, ValueError, text_format.ParseError, ModelError) as error:
        problem = error.message if isinstance(error, ModelError) else str(error)
        return RepositoryModel(name, None, None, " ".join(problem.split()))
    return RepositoryModel(name, served.manifest, served.built_at)
