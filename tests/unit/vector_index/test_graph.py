"""A graph whose files were damaged or forged is refused: FAISS would follow any link."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from framematch.vector_index.array_file import write_array
from framematch.vector_index.build import build_index
from framematch.vector_index.description import IndexDescription
from tests.unit.vector_index.vectors import grouped_vectors, opened

VECTORS = grouped_vectors(800)


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> IndexDescription:
    """Of the graph in `FILES`."""
    folder = tmp_path_factory.mktemp("graph")
    description = build_index(VECTORS, folder, "hnsw")
    FILES.update({path.name: path.read_bytes() for path in folder.iterdir()})
    return description


FILES: dict[str, bytes] = {}


@pytest.fixture
def folder(tmp_path: Path, description: IndexDescription) -> Path:
    """The files of the graph, for one test."""
    del description
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def change(path: Path, changed: Callable[[NDArray[np.int32]], NDArray[np.int32]]) -> None:
    write_array(path, changed(np.load(path)))


def test_the_parameters_are_in_the_description(description: IndexDescription) -> None:
    assert description.kind == "hnsw"
    assert description.parameters["M"] == 32
    assert description.parameters["efConstruction"] == 200
    assert description.parameters["efSearch"] >= 64
    assert description.queries == 800


def test_links_are_followed_in_the_file_and_not_in_a_copy(folder: Path, description: IndexDescription) -> None:
    index = opened(folder, description, VECTORS)
    assert (index.search(VECTORS[:50], 1)[1][:, 0] == np.arange(50)).all()
    links = np.load(folder / "links.npy", mmap_mode="r+")
    links[:] = -1
    links.flush()
    cosines, rows = index.search(VECTORS[:50], 3)
    assert (rows[:, 1:] == -1).all()
    assert set(rows[:, 0]) == {description.parameters["entryPoint"]}
    assert (cosines[:, 1:] == -np.inf).all()


@pytest.mark.parametrize("row", [800, 2**31 - 1, -2])
def test_a_link_to_a_vector_that_does_not_exist_is_refused(
    folder: Path, description: IndexDescription, row: int
) -> None:
    change(folder / "links.npy", lambda links: np.where(np.arange(len(links)) == 70, np.int32(row), links))
    with pytest.raises(ValueError, match=r"links\.npy has a link to a vector that does not exist"):
        opened(folder, description, VECTORS)


def test_a_link_to_a_vector_that_is_not_on_its_level_is_refused(folder: Path, description: IndexDescription) -> None:
    levels = np.load(folder / "levels.npy")
    high, low = int(np.argmax(levels > 1)), int(np.argmax(levels == 1))
    links = np.load(folder / "links.npy")
    start = int(np.where(levels[:high] > 1, 64 + 32 * (levels[:high].astype(int) - 1), 64).sum())
    links[start + 64] = low  # the first link of the second level
    write_array(folder / "links.npy", links)
    with pytest.raises(ValueError, match="a link to a vector that is not on its level"):
        opened(folder, description, VECTORS)


@pytest.mark.parametrize("level", [0, 255])
def test_a_number_of_levels_that_cannot_be_is_refused(folder: Path, description: IndexDescription, level: int) -> None:
    levels = np.load(folder / "levels.npy")
    levels[3] = level
    write_array(folder / "levels.npy", levels)
    with pytest.raises(ValueError, match=r"levels\.npy has \d+ to \d+ levels, which cannot be"):
        opened(folder, description, VECTORS)


def test_links_of_another_number_are_refused(folder: Path, description: IndexDescription) -> None:
    change(folder / "links.npy", lambda links: links[:-1])
    with pytest.raises(ValueError, match=r"links\.npy is no file of \d+ values of int32"):
        opened(folder, description, VECTORS)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"M": 1}, "M=1, which is not from 2 to 256"),
        ({"M": 2**40}, "M=1099511627776"),
        ({"efSearch": 0}, "efSearch=0, which is not from 1"),
        ({"efSearch": 2**62}, "efSearch="),
        ({"entryPoint": 800}, "entryPoint=800, which is not from 0 to 799"),
        ({"entryPoint": -1}, "entryPoint=-1"),
        ({"nprobe": 3}, "its index has the parameters"),
    ],
)
def test_parameters_that_cannot_be_are_refused(
    folder: Path, description: IndexDescription, parameters: dict[str, int], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        opened(folder, replace(description, parameters=description.parameters | parameters), VECTORS)


def test_a_missing_parameter_is_refused(folder: Path, description: IndexDescription) -> None:
    with pytest.raises(ValueError, match="expected are"):
        opened(folder, replace(description, parameters={"M": 32}), VECTORS)


def test_an_entry_below_the_highest_level_is_refused(folder: Path, description: IndexDescription) -> None:
    low = int(np.argmin(np.load(folder / "levels.npy")))
    changed = replace(description, parameters=description.parameters | {"entryPoint": low})
    with pytest.raises(ValueError, match=f"row {low} is no entry into the graph"):
        opened(folder, changed, VECTORS)
