"""A bundle's folder: finds files, and lists the folder's content when something is missing."""

from dataclasses import dataclass
from pathlib import Path

from framematch.core.errors import ModelError
from framematch.model_build.bundles.layouts import SUPPORTED_HINT
from framematch.model_build.files.graph_file import describe_graph_file

# An export has fewer files; a hub's cache, given by mistake, has thousands.
_LISTED_FILES = 30
_LISTED_SUFFIXES = {".json", ".onnx", ".onnx_data", ".data", ".model", ".safetensors", ".bin"}


@dataclass(frozen=True)
class BundleFolder:
    """An existing folder."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> "BundleFolder":
        """The folder at `path`.

        Raises:
            ModelError: it is not a folder.
        """
        path = path.resolve()
        if not path.is_dir():
            raise ModelError(f"no model bundle at {path}: it is not a folder", hint=SUPPORTED_HINT)
        return cls(path)

    def find(self, *names: str) -> Path | None:
        """The first of these files that exists."""
        return next((self.path / name for name in names if (self.path / name).is_file()), None)

    def require(self, *names: str) -> Path:
        """The first of these files that exists.

        Raises:
            ModelError: none exists.
        """
        found = self.find(*names)
        if found is None:
            raise ModelError(
                f"the model bundle {self.path} lacks {' or '.join(names)}; found: {self.describe()}",
                hint=SUPPORTED_HINT,
            )
        return found

    def describe(self) -> str:
        """The folder's model files, on one line, with the inputs and outputs of the graphs."""
        files = sorted(file for pattern in ("*", "*/*") for file in self.path.glob(pattern))
        listed = [file for file in files if file.suffix in _LISTED_SUFFIXES and file.is_file()]
        names = [
            f"{file.relative_to(self.path)}{f' ({describe_graph_file(file)})' if file.suffix == '.onnx' else ''}"
            for file in listed[:_LISTED_FILES]
        ]
        if len(listed) > _LISTED_FILES:
            names.append(f"and {len(listed) - _LISTED_FILES} more files")
        return ", ".join(names) or "no file of a model"
