"""The names of an index's files."""

from typing import Final

from framematch.vector_index.description import Kind

VECTORS_FILE: Final = "vectors.npy"


def file_names(kind: Kind) -> frozenset[str]:
    """The names of the files that a build of this kind writes."""
    del kind
    return frozenset({VECTORS_FILE})
