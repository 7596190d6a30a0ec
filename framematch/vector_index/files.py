"""The names of an index's files."""

from typing import Final

from framematch.vector_index.description import Kind

VECTORS_FILE: Final = "vectors.npy"  # float32 [N, D] of a flat index; float16 of the others
LEVELS_FILE: Final = "levels.npy"  # uint8 [N]: the number of levels of each vector in a graph
LINKS_FILE: Final = "links.npy"  # int32: the neighbours of each vector on each of its levels
CENTROIDS_FILE: Final = "centroids.npy"  # float32 [lists, D]
LIST_SIZES_FILE: Final = "list_sizes.npy"  # int64 [lists]
LISTS_FILE: Final = "lists.bin"  # for each list the codes of its vectors, then their rows, int64

_NAMES: Final[dict[Kind, frozenset[str]]] = {
    "flat": frozenset({VECTORS_FILE}),
    "hnsw": frozenset({VECTORS_FILE, LEVELS_FILE, LINKS_FILE}),
    "rabitq": frozenset({VECTORS_FILE, CENTROIDS_FILE, LIST_SIZES_FILE, LISTS_FILE}),
}


def file_names(kind: Kind) -> frozenset[str]:
    """The names of the files that a build of this kind writes."""
    return _NAMES[kind]
