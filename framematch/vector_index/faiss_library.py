"""Loads FAISS where an index needs it, with the BLAS kernels that fit this processor.

faiss-cpu 1.15.1 brings OpenBLAS 0.3.15, which does not know processors since 2021 and gives them its slowest kernels.
On a Xeon of 2023 a search of 64 queries over 100,000 x 512 on one core took 232 ms with them and 79 ms with the right
ones. OpenBLAS reads the name of its kernels from the environment when it is loaded, and at no other time.
"""

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# FAISS uses BLAS only from this many queries x dimensions. Its default of 128,000 leaves batches below 250 of 512
# dimensions to a plain loop. Measured over 100,000 x 512 on one core, loop against BLAS in ms: 1 query 14 and 32,
# 2 queries 28 and 32, 3 queries 41 and 35, 16 queries 215 and 43. So: from 3 queries of 512 dimensions on.
BLAS_THRESHOLD: Final = 1_500
# Consumers scale by processes, one a core; two threads were slower than one with small batches.
SEARCH_THREADS: Final = 1
_KERNELS = "OPENBLAS_CORETYPE"
# The kernels of OpenBLAS and the processor's features that they need, the fastest first.
_NEEDED_FEATURES = {
    "SkylakeX": {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"},
    "Haswell": {"avx2", "fma"},
}


def load_faiss() -> Any:
    """The module `faiss`; only the first call in a process has an effect on its kernels."""
    kernels = None if _KERNELS in os.environ else _fastest_kernels(Path("/proc/cpuinfo"))
    if kernels:
        os.environ[_KERNELS] = kernels
    try:
        import faiss  # noqa: PLC0415  # a flat index is built without it, and the environment is set before
    finally:
        if kernels:
            del os.environ[_KERNELS]
    faiss.cvar.distance_compute_blas_threshold = BLAS_THRESHOLD
    return faiss


def use_search_threads(faiss: Any) -> None:
    """Bound the threads of the next search. OpenMP keeps the number per calling thread, so each search sets it."""
    faiss.omp_set_num_threads(SEARCH_THREADS)


def use_all_cores(faiss: Any) -> None:
    """Let a build use what this process may run on."""
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))


def view_of(faiss: Any, vector: Any, values: NDArray[np.uint8] | NDArray[np.int32]) -> None:
    """Make a `MaybeOwnedVector` of FAISS a view of this array, [n], which has to outlive it; nothing is copied."""
    vector.is_owned = False
    vector.c_ptr = vector.view_data = faiss.swig_ptr(values)
    vector.c_size = vector.view_size = len(values)


def _fastest_kernels(cpuinfo: Path) -> str | None:
    """The name of the kernels for this processor; None when it is one that OpenBLAS should judge by itself."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return None
    features = next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
    return next((name for name, needed in _NEEDED_FEATURES.items() if needed <= features), None)
