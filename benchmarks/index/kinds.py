"""Each kind of an index at several sizes: queries a second, recall, time of a build, memory.

All searches run on one core, as in a consumer, and take turns in each round. Recall is measured twice: with new views
of the products, and by the build itself, which does not know these and turns stored vectors away instead. Sizes that
no machine at hand can hold are reckoned from the bytes of a vector, and are marked so.
"""

import time
from contextlib import ExitStack, closing
from functools import partial

import numpy as np

from benchmarks.harness import Figure, Options, Results, Side, take_turns
from benchmarks.index.kept import Site
from benchmarks.index.vectors import DIMENSION, Catalogue
from framematch.core.arrays import Embeddings
from framematch.core.units import BYTES_PER_MB
from framematch.vector_index.description import RECALL_FLOOR, Kind
from framematch.vector_index.faiss_library import load_faiss
from framematch.vector_index.index import VectorIndex
from framematch.vector_index.recall import ExactResult
from framematch.vector_index.sizes import disk_bytes, memory_bytes

KINDS: tuple[Kind, ...] = ("flat", "hnsw", "rabitq")
RECKONED_ROWS = (10_000_000, 100_000_000)
_BATCHES = (16, 64)
_K = 10
_QUERIES = 1_024


def measure(site: Site, options: Options) -> Results:
    """All kinds at the sizes that were asked for."""
    found = Results()
    for rows in options.rows:
        with ExitStack() as stack:
            indexes = {kind: stack.enter_context(closing(site.open(rows, kind))) for kind in KINDS}
            _compare(site, rows, indexes, options, found)
    for rows in RECKONED_ROWS:
        for kind in KINDS:
            _add_sizes(rows, kind, found, "MB, reckoned")
    return found


def _compare(site: Site, rows: int, indexes: dict[Kind, VectorIndex], options: Options, found: Results) -> None:
    queries = Catalogue.of(rows).queries(_QUERIES)
    run_s = 0.5 if options.quick else 2.0
    sides: dict[str, Side] = {
        f"{kind}.batch_{batch}": partial(queries_per_s, index, queries, batch, run_s)
        for kind, index in indexes.items()
        for batch in _BATCHES
    }
    rates = take_turns(f"{rows} vectors", sides, rounds=options.rounds, unit="queries/s")
    for side in sides:
        found.figures[f"{rows}.{side}"] = Figure.of([rate[side] for rate in rates], "queries/s")
    exact = ExactResult.of_queries(load_faiss(), site.vectors(rows), queries)
    for kind, index in indexes.items():
        name, built = f"{rows}.{kind}", site.built(rows, kind)
        found.settings[name] = built.description.parameters
        found.figures[f"{name}.build"] = Figure.of([built.build_s], "s")
        _add_sizes(rows, kind, found, "MB")
        if kind != "flat":
            for k, share in zip((1, 10), exact.recall_of(index), strict=True):
                found.figures[f"{name}.recall_at_{k}"] = Figure.of([share], "share")
                found.at_least[f"{name}.recall_at_{k}"] = RECALL_FLOOR
            found.figures[f"{name}.recall_at_1_by_build"] = Figure.of([built.description.recall_at_1], "share")
            found.figures[f"{name}.recall_at_10_by_build"] = Figure.of([built.description.recall_at_10], "share")


def queries_per_s(index: VectorIndex, queries: Embeddings, batch: int, run_s: float) -> float:
    """The rate of searches for ten, for about `run_s` of CPU time: what else runs on the machine changes it little."""
    batches = np.split(queries, range(batch, len(queries), batch))
    done, started_s = 0, time.process_time()
    while (elapsed_s := time.process_time() - started_s) < run_s:
        index.search(batches[done % len(batches)], _K)
        done += 1
    return done * batch / elapsed_s


def _add_sizes(rows: int, kind: Kind, found: Results, unit: str) -> None:
    found.figures[f"{rows}.{kind}.memory"] = Figure.of([memory_bytes(kind, rows, DIMENSION) / BYTES_PER_MB], unit)
    found.figures[f"{rows}.{kind}.disk"] = Figure.of([disk_bytes(kind, rows, DIMENSION) / BYTES_PER_MB], unit)
