"""Compressed lists whose files were damaged or forged are refused: FAISS would return any row in them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from framematch.vector_index.array_file import write_array
from framematch.vector_index.build import build_index
from framematch.vector_index.description import IndexDescription
from framematch.vector_index.lists import number_of_lists
from tests.unit.vector_index.vectors import grouped_vectors, opened

VECTORS = grouped_vectors(800)
CODE_BYTES = 48 // 8 + 8
FILES: dict[str, bytes] = {}


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> IndexDescription:
    """Of the lists in `FILES`."""
    folder = tmp_path_factory.mktemp("lists")
    description = build_index(VECTORS, folder, "rabitq")
    FILES.update({path.name: path.read_bytes() for path in folder.iterdir()})
    return description


@pytest.fixture
def folder(tmp_path: Path, description: IndexDescription) -> Path:
    """The files of the lists, for one test."""
    del description
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def rows_of_first_list(folder: Path) -> np.memmap:
    """The numbers of its vectors, which can be changed."""
    size = int(np.load(folder / "list_sizes.npy")[0])
    return np.memmap(folder / "lists.bin", "<i8", "r+", size * CODE_BYTES, (size,))


@pytest.mark.parametrize(("vectors", "lists"), [(1, 1), (100, 2), (100_000, 1_024), (1_000_000, 4_096)])
def test_lists_are_as_many_as_can_be_trained(vectors: int, lists: int) -> None:
    assert number_of_lists(vectors) == lists


def test_the_parameters_are_in_the_description(description: IndexDescription) -> None:
    assert description.kind == "rabitq"
    assert set(description.parameters) == {"nlist", "nprobe", "candidates"}
    assert description.queries == 800


def test_the_lists_are_searched_in_the_file_and_not_in_a_copy(folder: Path, description: IndexDescription) -> None:
    index = opened(folder, description, VECTORS)
    rows = rows_of_first_list(folder)
    query = VECTORS[[rows[0]]]
    assert index.search(query, 1)[1].tolist() == [[rows[0]]]
    before = int(rows[0])
    rows[0] = rows[1]
    rows.flush()
    assert index.search(query, 1)[1].tolist() != [[before]]


def test_lists_that_hold_fewer_than_k_leave_rows_empty(folder: Path, description: IndexDescription) -> None:
    one_list = replace(description, parameters=description.parameters | {"nprobe": 1})
    cosines, rows = opened(folder, one_list, VECTORS).search(VECTORS[:20], 700)
    assert (rows[:, 0] == np.arange(20)).all()
    assert ((rows == -1) == (cosines == -np.inf)).all()
    assert (rows[:, -1] == -1).all()


@pytest.mark.parametrize("row", [-1, 800, 2**62])
def test_a_row_that_does_not_exist_is_refused(folder: Path, description: IndexDescription, row: int) -> None:
    rows_of_first_list(folder)[0] = row
    with pytest.raises(ValueError, match=r"lists\.bin has a row that does not exist"):
        opened(folder, description, VECTORS)


def test_a_row_that_is_there_twice_is_refused(folder: Path, description: IndexDescription) -> None:
    rows = rows_of_first_list(folder)
    missing = int(rows[0])
    rows[0] = rows[1]
    with pytest.raises(ValueError, match=rf"lists\.bin does not have row {missing}"):
        opened(folder, description, VECTORS)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_refused(folder: Path, description: IndexDescription, change: int) -> None:
    data = FILES["lists.bin"]
    (folder / "lists.bin").write_bytes(data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(ValueError, match=r"lists\.bin does not have 800 vectors of 48 dimensions"):
        opened(folder, description, VECTORS)


@pytest.mark.parametrize("sizes", [(801, -1), (799, 0), (2**62, 2**62)])
def test_sizes_that_cannot_be_are_refused(folder: Path, description: IndexDescription, sizes: tuple[int, int]) -> None:
    changed = np.zeros(description.parameters["nlist"], np.int64)
    changed[:2] = sizes
    write_array(folder / "list_sizes.npy", changed)
    with pytest.raises(ValueError, match=r"list_sizes\.npy does not have the sizes of lists of 800 vectors"):
        opened(folder, description, VECTORS)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0])
def test_a_centroid_that_is_no_unit_vector_is_refused(
    folder: Path, description: IndexDescription, value: float
) -> None:
    centroids = np.load(folder / "centroids.npy")
    centroids[1] = value
    write_array(folder / "centroids.npy", centroids)
    with pytest.raises(ValueError, match=r"centroids\.npy has a row that is no finite unit vector"):
        opened(folder, description, VECTORS)


@pytest.mark.parametrize("parameters", [{"nlist": 801}, {"nlist": 0}, {"nprobe": 0}, {"nprobe": 2**33}, {"M": 3}])
def test_parameters_that_cannot_be_are_refused(
    folder: Path, description: IndexDescription, parameters: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match="its index has"):
        opened(folder, replace(description, parameters=description.parameters | parameters), VECTORS)
