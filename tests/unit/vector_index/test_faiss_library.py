"""How FAISS is loaded, and what it does that an index has to know. A new version may fail here: see what it changed."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from framematch.vector_index import faiss_library
from framematch.vector_index.faiss_library import BLAS_THRESHOLD, load_faiss, use_search_threads
from tests.unit.vector_index.vectors import KINDS, built, unit_vectors

faiss = load_faiss()
PROGRAM = """
import ctypes, os
from framematch.vector_index.faiss_library import load_faiss
load_faiss()
library = next(line.split()[-1] for line in open("/proc/self/maps") if "faiss" in line and "openblas" in line)
name = ctypes.CDLL(library).openblas_get_corename
name.restype = ctypes.c_char_p
print(name().decode(), os.environ.get("OPENBLAS_CORETYPE"))
"""
AVX2 = "flags\t\t: fpu sse3 fma avx avx2\n"
AVX512 = "flags\t\t: fpu avx2 fma avx512f avx512cd avx512bw avx512dq avx512vl\n"


def kernels(**environment: str) -> list[str]:
    """The kernels of FAISS's OpenBLAS in a new process, and what is in its environment afterwards."""
    inherited = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=inherited | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_faiss_computes_with_the_kernels_of_this_processor() -> None:
    expected = faiss_library._fastest_kernels(Path("/proc/cpuinfo"))  # noqa: SLF001  # what this machine has
    if expected is None:
        pytest.skip("this processor has neither AVX2 nor AVX-512")
    assert kernels() == [expected, "None"]


def test_kernels_that_the_user_chose_are_used() -> None:
    assert kernels(OPENBLAS_CORETYPE="Nehalem") == ["Nehalem", "Nehalem"]


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor : 0\n" + AVX512, "SkylakeX"),
        (AVX2, "Haswell"),
        ("flags : fpu avx2 fma avx512f\n", "Haswell"),
        ("flags : fpu sse3\n", None),
        ("Features : fp asimd\n", None),
        ("", None),
    ],
)
def test_the_kernels_follow_the_features_of_the_processor(tmp_path: Path, cpuinfo: str, expected: str | None) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert faiss_library._fastest_kernels(tmp_path / "cpuinfo") == expected  # noqa: SLF001  # else by the real file


def test_a_system_without_cpuinfo_leaves_the_choice_to_openblas(tmp_path: Path) -> None:
    assert faiss_library._fastest_kernels(tmp_path / "none") is None  # noqa: SLF001  # as above


def test_blas_is_used_for_batches_of_regions() -> None:
    assert faiss.cvar.distance_compute_blas_threshold == BLAS_THRESHOLD
    assert 2 * 512 < BLAS_THRESHOLD < 3 * 512


def test_a_search_uses_one_thread_whichever_thread_calls_it() -> None:
    def threads() -> int:
        use_search_threads(faiss)
        return int(faiss.omp_get_max_threads())

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(threads).result() == 1


def test_the_defaults_of_a_graph_are_low() -> None:
    hnsw = faiss.IndexHNSWFlat(8, 32).hnsw
    assert (hnsw.efConstruction, hnsw.efSearch) == (40, 16)


# Reading with IO_FLAG_MMAP copies a graph, so each worker would have its own; none of the flags is used here.
@pytest.mark.parametrize(("flag", "copied"), [(faiss.IO_FLAG_MMAP, True), (faiss.IO_FLAG_MMAP_IFC, False)])
def test_only_one_of_the_flags_maps_a_graph(tmp_path: Path, flag: int, copied: bool) -> None:
    index = faiss.IndexHNSWFlat(8, 4)
    index.add(unit_vectors(50, 8))
    faiss.write_index(index, str(tmp_path / "graph"))
    read = faiss.read_index(str(tmp_path / "graph"), flag)
    assert read.hnsw.neighbors.is_owned is copied
    assert faiss.downcast_index(read.storage).codes.is_owned is copied


def test_a_graph_ignores_a_filter_without_a_bounded_queue() -> None:
    index = faiss.IndexHNSWFlat(2, 4)
    index.add(np.array([[0, 0], [9, 0], [18, 0], [27, 0]], np.float32))
    only_second = faiss.SearchParametersHNSW(efSearch=40, bounded_queue=False, sel=faiss.IDSelectorRange(1, 2))
    assert index.search(np.zeros((1, 2), np.float32), 1, params=only_second)[1].tolist() == [[0]]


def test_a_graph_finds_nothing_with_a_strict_filter() -> None:
    index = faiss.IndexHNSWFlat(8, 8)
    index.add(unit_vectors(2_000, 8))
    strict = faiss.SearchParametersHNSW(efSearch=16, sel=faiss.IDSelectorBatch(np.arange(3)))
    assert (index.search(unit_vectors(100, 8, seed=1), 1, params=strict)[1] < 0).mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_our_filter_finds_exactly_what_is_allowed(tmp_path: Path, kind: str) -> None:
    vectors = unit_vectors(2_000, 8)
    index = built(tmp_path, vectors, kind)  # type: ignore[arg-type]  # parametrize knows no types
    found = index.search_rows(unit_vectors(100, 8, seed=1), np.arange(3), 3)[1]
    assert (np.sort(found) == [0, 1, 2]).all()


def test_lists_that_are_probed_may_hold_fewer_than_k() -> None:
    index = faiss.index_factory(8, "IVF8,Flat")
    vectors = unit_vectors(400, 8)
    index.train(vectors)
    index.add(vectors)
    assert (index.search(vectors[:5], 200)[1] == -1).any()


def test_product_quantisers_cannot_be_trained_with_few_vectors() -> None:
    with pytest.raises(RuntimeError, match="256"):
        faiss.IndexPQ(8, 2, 8).train(unit_vectors(255, 8))
