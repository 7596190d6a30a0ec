"""Chooses the files of a repository that make a bundle: the fp32 graphs, their weights, and configuration files."""

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from framematch.core.errors import ModelError
from framematch.model_build.bundles.layouts import OPENCLIP, Layout
from framematch.model_build.hub.client import RemoteFile, RemoteRepository

# The original repositories have PyTorch weights; these have the same weights as ONNX, with separate towers.
ONNX_EXPORTS = {
    "openai/clip-vit-base-patch32": "Xenova/clip-vit-base-patch32",
    "openai/clip-vit-base-patch16": "Xenova/clip-vit-base-patch16",
    "openai/clip-vit-large-patch14": "Xenova/clip-vit-large-patch14",
    "google/siglip-base-patch16-224": "Xenova/siglip-base-patch16-224",
}
# Its names of graphs include those of all other families.
_LAYOUT: Layout = OPENCLIP
_SETTINGS = re.compile(
    r"(visual/|textual/)?(config|open_clip_config|preprocessor_config|preprocess_cfg"
    r"|tokenizer|tokenizer_config|special_tokens_map)\.json"
)
_SHOWN_FILES = 12


def bundle_files(repository: RemoteRepository) -> Sequence[RemoteFile]:
    """The files that a bundle needs, small ones first. Other files, such as other precisions, are left out.

    Raises:
        ModelError: the repository is not an ONNX export with separate towers.
    """
    names = {file.path for file in repository.files}
    graphs = [_first(_LAYOUT.image_graphs, names), _first(_LAYOUT.text_graphs, names)]
    if missing := _missing(names, *graphs):
        listed = sorted(name for name in names if name.endswith(".onnx")) or sorted(names)
        found = ", ".join(listed[:_SHOWN_FILES]) + (", …" if len(listed) > _SHOWN_FILES else "")
        raise ModelError(
            f"{repository.name} is not an ONNX export with separate towers: it lacks {', '.join(missing)} "
            f"(found: {found or 'nothing'})",
            hint=f"Use one that is, such as {ONNX_EXPORTS['openai/clip-vit-base-patch32']}, or export the model with "
            "optimum (docs/models.md) and give --from DIR",
        )
    # Graphs of more than 2 GB, and some smaller ones, have files with weights beside them: model.onnx_data, _data_1, …
    patterns = [_SETTINGS, *(re.compile(rf"{re.escape(graph)}([_.]data\w*)?") for graph in graphs if graph)]
    chosen = [file for file in repository.files if any(pattern.fullmatch(file.path) for pattern in patterns)]
    return sorted(chosen, key=lambda file: file.size_bytes)


def _missing(names: AbstractSet[str], image_graph: str | None, text_graph: str | None) -> list[str]:
    """The required files that are missing, by the names that public exports use."""
    missing = [] if image_graph else [_LAYOUT.image_graphs[0]]
    if "open_clip_config.json" not in names:
        missing += [name for name in ("config.json", "preprocessor_config.json") if name not in names]
    if text_graph and not names & {"tokenizer.json", "textual/tokenizer.json"}:
        missing.append("tokenizer.json")
    return missing


def _first(candidates: Sequence[str], names: AbstractSet[str]) -> str | None:
    return next((name for name in candidates if name in names), None)
