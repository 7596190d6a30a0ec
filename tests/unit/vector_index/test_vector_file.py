"""Only the expected vectors are read from a file, whoever wrote it."""

import math
from pathlib import Path

import numpy as np
import pytest

from framematch.core.arrays import Embeddings
from framematch.vector_index.array_file import array_header, map_array, touch_pages
from framematch.vector_index.vector_file import map_vectors, write_vectors
from tests.unit.vector_index.vectors import unit_vectors

VECTORS = unit_vectors(20)


@pytest.mark.parametrize("precision", [np.float32, np.float16])
def test_what_was_written_is_mapped_and_numpy_reads_it_too(tmp_path: Path, precision: type[np.float32]) -> None:
    write_vectors(path := tmp_path / "vectors.npy", VECTORS, precision)
    mapped = map_vectors(path, 20, 48, precision)
    assert (mapped == VECTORS.astype(precision)).all()
    assert (np.load(path) == mapped).all()
    assert mapped.ctypes.data % 64 == 0
    assert not mapped.flags.writeable


def test_more_vectors_than_a_block_are_written_in_order(tmp_path: Path) -> None:
    vectors = unit_vectors(20_000, 4)
    write_vectors(tmp_path / "vectors.npy", vectors, np.float32)
    assert (map_vectors(tmp_path / "vectors.npy", 20_000, 4, np.float32) == vectors).all()


def test_all_pages_can_be_touched(tmp_path: Path) -> None:
    write_vectors(tmp_path / "vectors.npy", VECTORS, np.float32)
    touch_pages(map_vectors(tmp_path / "vectors.npy", 20, 48, np.float32))


@pytest.mark.parametrize(("rows", "dimension"), [(21, 48), (20, 47), (10, 96), (2**62, 48), (2**62, 2**62)])
def test_another_number_of_vectors_is_refused(tmp_path: Path, rows: int, dimension: int) -> None:
    write_vectors(path := tmp_path / "vectors.npy", VECTORS, np.float32)
    with pytest.raises(ValueError, match=rf"vectors\.npy is no file of {rows} x {dimension} values of float32"):
        map_vectors(path, rows, dimension, np.float32)


def test_another_precision_is_refused(tmp_path: Path) -> None:
    write_vectors(path := tmp_path / "vectors.npy", VECTORS, np.float32)
    with pytest.raises(ValueError, match="20 x 48 values of float16"):
        map_vectors(path, 20, 48, np.float16)


@pytest.mark.parametrize("change", [-1, 1, -4])
def test_a_file_of_another_size_is_refused(tmp_path: Path, change: int) -> None:
    write_vectors(path := tmp_path / "vectors.npy", VECTORS, np.float32)
    data = path.read_bytes()
    path.write_bytes(data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(ValueError, match="is no file of 20 x 48 values"):
        map_vectors(path, 20, 48, np.float32)


@pytest.mark.parametrize(
    "header",
    [
        b"IxFI",
        b"\x93NUMPY\x02\x00",
        array_header(np.float32, (20, 48)).replace(b"False", b"True "),
        array_header(np.float32, (20, 48)).replace(b"<f4", b">f4"),
        array_header(np.float32, (20, 48)).replace(b"'<f4'", b"'|O' "),
    ],
)
def test_another_header_is_refused_and_numpy_does_not_read_it(
    tmp_path: Path, header: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "load", None)
    write_vectors(path := tmp_path / "vectors.npy", VECTORS, np.float32)
    data = path.read_bytes()
    path.write_bytes(header + data[len(header) :])
    assert path.read_bytes() != data
    with pytest.raises(ValueError, match="is no file of"):
        map_array(path, np.float32, (20, 48))


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, 3.0])
@pytest.mark.parametrize("row", [2, 9_000])
def test_a_row_that_is_no_unit_vector_is_refused_by_its_number(tmp_path: Path, value: float, row: int) -> None:
    vectors: Embeddings = unit_vectors(9_001, 4)
    write_vectors(path := tmp_path / "vectors.npy", vectors, np.float32)
    damaged = np.memmap(path, np.float32, "r+", len(array_header(np.float32, (9_001, 4))), (9_001, 4))
    damaged[row] = value
    damaged.flush()
    with pytest.raises(ValueError, match=f"row {row} is no finite unit vector"):
        map_vectors(path, 9_001, 4, np.float32)
