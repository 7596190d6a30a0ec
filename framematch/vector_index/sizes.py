"""What an index of each kind takes, and the kind that fits."""

from typing import Final

from framematch.core.units import BYTES_PER_MB
from framematch.vector_index.description import Kind
from framematch.vector_index.graph import LINKS
from framematch.vector_index.lists import ROW_BYTES, code_bytes, number_of_lists

# Here a search takes 1.5 ms of a core for each region in a batch of 64, about what all else that a consumer does takes.
FLAT_VECTORS: Final = 100_000
_HALF_BYTES, _SINGLE_BYTES, _LINK_BYTES, _LEVEL_BYTES = 2, 4, 4, 12


def memory_bytes(kind: Kind, vectors: int, dimension: int) -> int:
    """What a search reads all over, so that it has to be in memory. Workers of one host share it."""
    if kind == "flat":
        return vectors * dimension * _SINGLE_BYTES
    if kind == "hnsw":
        # Twice the links on the lowest level; each level above has one vector in LINKS of the one below.
        links = 2 * LINKS + LINKS // (LINKS - 1)
        return vectors * (dimension * _HALF_BYTES + links * _LINK_BYTES + _LEVEL_BYTES)
    lists = number_of_lists(vectors) * (dimension * _SINGLE_BYTES + ROW_BYTES)
    return vectors * (code_bytes(dimension) + ROW_BYTES) + lists


def disk_bytes(kind: Kind, vectors: int, dimension: int) -> int:
    """The size of its files."""
    beside = vectors * dimension * _HALF_BYTES if kind == "rabitq" else 0
    return memory_bytes(kind, vectors, dimension) + beside


def choose_kind(vectors: int, dimension: int, memory_mb: float | None = None) -> Kind:
    """The kind for this number of vectors, which a host can hold in `memory_mb`: exact, or compressed.

    A graph is built if it is asked for, and never chosen: for the same recall it was slower than compressed lists, took
    longer to build and needs more memory.
    """
    fits = memory_mb is None or memory_bytes("flat", vectors, dimension) <= memory_mb * BYTES_PER_MB
    return "flat" if vectors <= FLAT_VECTORS and fits else "rabitq"
