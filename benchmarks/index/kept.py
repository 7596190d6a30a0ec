"""Vectors and indexes that are kept between runs: a graph of a million vectors takes half an hour to build."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.cli import DEFAULT_FOLDER
from benchmarks.index.vectors import DIMENSION, Catalogue
from framematch.core.arrays import Embeddings
from framematch.vector_index.build import build_index
from framematch.vector_index.description import IndexDescription, Kind
from framematch.vector_index.index import VectorIndex, open_index


@dataclass(frozen=True)
class BuiltIndex:
    """An index in a folder, and how long its build took."""

    description: IndexDescription
    build_s: float


@dataclass(frozen=True)
class Site:
    """A folder with vectors and indexes. Delete it to build them again."""

    folder: Path

    def vectors(self, rows: int) -> Embeddings:
        """As many vectors, float32 [rows, 512], memory-mapped."""
        path = self.folder / f"{rows}.npy"
        if not path.exists():
            partial = path.with_suffix(".partial")
            Catalogue.of(rows).write(partial)
            partial.rename(path)
        mapped: Embeddings = np.load(path, mmap_mode="r")
        return mapped

    def index_folder(self, rows: int, kind: Kind) -> Path:
        """Where the index of this kind is."""
        return self.folder / f"{rows}-{kind}"

    def built(self, rows: int, kind: Kind) -> BuiltIndex:
        """The index of this kind, built if it is not there."""
        folder = self.index_folder(rows, kind)
        kept = folder / "built.json"
        if not kept.exists():
            folder.mkdir(exist_ok=True)
            print(f"building {kind} of {rows} vectors", flush=True)
            vectors = self.vectors(rows)
            started_s = time.perf_counter()
            description = build_index(vectors, folder, kind)
            kept.write_bytes(msgspec.json.encode(BuiltIndex(description, time.perf_counter() - started_s)))
        return msgspec.json.decode(kept.read_bytes(), type=BuiltIndex)

    def open(self, rows: int, kind: Kind) -> VectorIndex:
        """The index, verified and warm."""
        description = self.built(rows, kind).description
        index = open_index(self.index_folder(rows, kind), description, vectors=rows, dimension=DIMENSION)
        index.warm_up()
        return index


@contextmanager
def running_site(_folder: Path, _model: str) -> Iterator[Site]:
    """The site of this checkout."""
    folder = DEFAULT_FOLDER / "index"
    folder.mkdir(parents=True, exist_ok=True)
    yield Site(folder)
