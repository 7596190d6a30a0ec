"""Looks into a built model repository."""

from pathlib import Path

from google.protobuf import text_format  # type: ignore[import-untyped]  # publishes no types
from tritonclient.grpc import model_config_pb2

from framematch.vision.manifest import IMAGE_MODEL, MANIFEST_PARAMETER, ModelManifest


def tower_folder(repository: Path, tower: str = IMAGE_MODEL) -> Path:
    """The folder of a tower of the repository's only model."""
    (folder,) = repository.glob(f"{tower}_*")
    return folder


def tower_folders(repository: Path) -> list[str]:
    """The names of all towers' folders."""
    return sorted(path.name for path in repository.glob("clip_*_*"))


def read_config(folder: Path) -> model_config_pb2.ModelConfig:
    """The configuration in the folder of a tower, as Triton reads it."""
    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


def manifest_of_folder(folder: Path) -> ModelManifest:
    """The manifest in the folder of a tower."""
    return ModelManifest.from_json(read_config(folder).parameters[MANIFEST_PARAMETER].string_value)
