"""The kind of an index follows its size and the memory for it."""

from pathlib import Path

import pytest

from framematch.vector_index.build import build_index
from framematch.vector_index.description import Kind
from framematch.vector_index.sizes import choose_kind, disk_bytes, memory_bytes
from tests.unit.vector_index.vectors import KINDS, grouped_vectors


@pytest.mark.parametrize(
    ("vectors", "memory_mb", "kind"),
    [
        (1, None, "flat"),
        (100_000, None, "flat"),
        (100_000, 205.0, "flat"),
        (100_000, 204.0, "rabitq"),
        (100_001, None, "rabitq"),
        (100_001, 1e9, "rabitq"),
        (10, 0.001, "rabitq"),
    ],
)
def test_the_kind_follows_size_and_memory(vectors: int, memory_mb: float | None, kind: Kind) -> None:
    assert choose_kind(vectors, 512, memory_mb) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_reckoned_size_is_that_of_the_files(tmp_path: Path, kind: Kind) -> None:
    build_index(grouped_vectors(3_000, 64), tmp_path, kind)
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert disk_bytes(kind, 3_000, 64) == pytest.approx(written, rel=0.05)
    assert memory_bytes(kind, 3_000, 64) <= disk_bytes(kind, 3_000, 64)
