"""The exact search beside the two simple ways to write it, over 100,000 vectors on one core.

`gemm` is numpy's matrix product and `argpartition`; `faiss_defaults` is FAISS as it comes. Each runs in a process of
its own, as FAISS chooses its BLAS kernels only once, and takes its turn in each round.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

from benchmarks.harness import Options, Results, Side, take_turns
from benchmarks.index.kept import Site
from benchmarks.index.vectors import Catalogue
from framematch.core.arrays import Embeddings

_ROWS = 100_000
_K = 10
_BATCHES = (64, 16)
_GOAL = 0.8
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def measure(site: Site, options: Options) -> Results:
    """Queries a second of each, in batches of 64 and of 16."""
    site.built(_ROWS, "flat")
    found = Results(at_least={"flat_vs_gemm": _GOAL})
    run_s = 0.5 if options.quick else 2.0
    for batch in _BATCHES:
        suffix = "" if batch == _BATCHES[0] else f"_batch_{batch}"
        with _one_thread(), ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
            sides: dict[str, Side] = {
                name: partial(_in_new_process, processes, site, name, batch, run_s) for name in _SEARCHES
            }
            rates = take_turns(f"batch {batch}", sides, rounds=options.rounds, unit="queries/s")
        found.compare(f"flat_vs_gemm{suffix}", "framematch", "gemm", rates, "queries/s")
        found.compare(f"flat_vs_faiss_defaults{suffix}", "framematch", "faiss_defaults", rates, "queries/s")
    return found


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that are started meanwhile compute on one core."""
    before = dict(os.environ)
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name in _ONE_THREAD:
            os.environ.pop(name)
        os.environ.update(before)


def _in_new_process(processes: ProcessPoolExecutor, site: Site, name: str, batch: int, run_s: float) -> float:
    return processes.submit(_rate, site, name, batch, run_s).result()


def _rate(site: Site, name: str, batch: int, run_s: float) -> float:
    """Queries a second of CPU time, after one search that is not counted."""
    queries = np.split(Catalogue.of(_ROWS).queries(16 * batch), 16)
    search = _SEARCHES[name](site)
    search(queries[0])
    done, started_s = 0, time.process_time()
    while (elapsed_s := time.process_time() - started_s) < run_s:
        search(queries[done % len(queries)])
        done += 1
    return done * batch / elapsed_s


Search = Callable[[Embeddings], Any]


def _framematch(site: Site) -> Search:
    return partial(site.open(_ROWS, "flat").search, k=_K)


def _gemm(site: Site) -> Search:
    vectors = np.array(site.vectors(_ROWS))

    def search(queries: Embeddings) -> tuple[Embeddings, Any]:
        cosines = queries @ vectors.T
        rows = np.argpartition(cosines, -_K, axis=1)[:, -_K:]
        best = np.take_along_axis(cosines, rows, 1)
        order = np.argsort(-best, axis=1)
        return np.take_along_axis(best, order, 1), np.take_along_axis(rows, order, 1)

    return search


def _faiss_defaults(site: Site) -> Search:
    import faiss  # noqa: PLC0415  # as it comes: not by our own loader

    index = faiss.IndexFlatIP(site.vectors(_ROWS).shape[1])
    index.add(np.array(site.vectors(_ROWS)))
    return partial(index.search, k=_K)


_SEARCHES: dict[str, Callable[[Site], Search]] = {
    "framematch": _framematch,
    "gemm": _gemm,
    "faiss_defaults": _faiss_defaults,
}
