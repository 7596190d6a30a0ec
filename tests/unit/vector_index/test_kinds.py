"""What a search can rely on, whatever the kind of the index."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from framematch.core.arrays import Embeddings
from framematch.vector_index.build import build_index
from framematch.vector_index.description import Kind
from framematch.vector_index.distinct import distinct_rows
from framematch.vector_index.files import file_names
from framematch.vector_index.index import VectorIndex
from tests.unit.vector_index.vectors import KINDS, built, grouped_vectors, of_unit_length, opened, unit_vectors

every_kind = pytest.mark.parametrize("kind", KINDS)
VECTORS = grouped_vectors(1_500)


@pytest.fixture(scope="module", params=KINDS)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VectorIndex:
    """An index of `VECTORS`."""
    return built(tmp_path_factory.mktemp("index"), VECTORS, request.param)


def best_cosines(queries: Embeddings, vectors: Embeddings, k: int) -> Embeddings:
    """By comparison with every vector."""
    return np.asarray(-np.sort(-(queries @ vectors.T), axis=1)[:, :k])


def test_a_stored_vector_has_the_cosine_1_with_itself(index: VectorIndex) -> None:
    cosines, rows = index.search(VECTORS, 1)
    assert rows[:, 0].tolist() == list(range(len(VECTORS)))
    assert np.abs(cosines - 1).max() < 1e-5


def test_cosines_are_exact_and_best_first(index: VectorIndex) -> None:
    queries = of_unit_length(VECTORS[:50] + 0.3 * unit_vectors(50, seed=1))
    cosines, rows = index.search(queries, 10)
    assert cosines == pytest.approx(np.einsum("nd,nkd->nk", queries, VECTORS[rows]), abs=1e-4)
    assert (np.diff(cosines, axis=1) <= 0).all()
    assert (cosines >= best_cosines(queries, VECTORS, 10) - 1e-4).mean() > 0.99


def test_rows_are_read_as_unit_vectors(index: VectorIndex) -> None:
    read = index.read(np.array([7, 3, 7]))
    assert read == pytest.approx(VECTORS[[7, 3, 7]], abs=1e-3)
    assert np.linalg.norm(read, axis=1) == pytest.approx(1, abs=1e-6)
    assert read.dtype == np.float32


def test_a_query_with_nan_finds_nothing_and_changes_no_other(index: VectorIndex) -> None:
    queries = VECTORS[:20].copy()
    queries[5, 3] = np.nan
    for cosines, rows in (index.search(queries, 2), index.search_rows(queries, np.arange(100), 2)):
        assert rows[:, 0].tolist() == [*range(5), -1, *range(6, 20)]
        assert (rows[5] == -1).all()
        assert (cosines[5] == -np.inf).all()


@pytest.mark.parametrize("length", [0.0, 0.5, 1.1, 20.0])
def test_a_query_that_is_not_of_unit_length_is_refused(index: VectorIndex, length: float) -> None:
    queries = VECTORS[:3] * np.array([[1], [1], [length]], np.float32)
    with pytest.raises(ValueError, match=f"query 2 has the length {length:.3f}, not 1"):
        index.search(queries, 2)


def test_a_query_of_another_dimension_is_refused(index: VectorIndex) -> None:
    with pytest.raises(ValueError, match=r"queries of shape \[2, 47\], the index has 48 dimensions"):
        index.search(unit_vectors(2, 47), 1)


def test_no_queries_find_nothing(index: VectorIndex) -> None:
    for cosines, rows in (index.search(VECTORS[:0], 2), index.search_rows(VECTORS[:0], np.arange(9), 2)):
        assert cosines.shape == rows.shape == (0, 2)


@pytest.mark.parametrize("chosen", [[], [4], [1_499, 3, 700, 12]])
def test_a_search_among_some_rows_equals_a_comparison_with_them(index: VectorIndex, chosen: list[int]) -> None:
    queries = unit_vectors(9, seed=2)
    cosines, rows = index.search_rows(queries, np.array(chosen, np.int64), 3)
    found = min(3, len(chosen))
    assert cosines[:, :found] == pytest.approx(best_cosines(queries, VECTORS[chosen], 3), abs=1e-3)
    assert set(rows[:, :found].ravel()) <= set(chosen)
    assert (rows[:, found:] == -1).all()
    assert (cosines[:, found:] == -np.inf).all()


@every_kind
@pytest.mark.parametrize("count", [1, 2, 4, 39, 255])
def test_any_number_of_vectors_can_be_indexed(tmp_path: Path, kind: Kind, count: int) -> None:
    vectors = unit_vectors(count)
    description = build_index(vectors, tmp_path, kind)
    assert description.reaches_floor
    cosines, rows = opened(tmp_path, description, vectors).search(vectors, count + 3)
    assert rows[:, 0].tolist() == list(range(count))
    assert (rows[:, count:] == -1).all()
    assert (cosines[:, count:] == -np.inf).all()


def test_a_thousand_copies_of_one_picture_hide_no_other_in_a_graph(tmp_path: Path) -> None:
    others = grouped_vectors(5_000)
    everything = np.concatenate([np.repeat(others[:1], 1_000, axis=0), others])
    rows, numbers = distinct_rows(everything)
    found = built(tmp_path, everything[rows], "hnsw").search(others, 1)[1][:, 0]
    assert (found == numbers[1_000:]).all()
    assert (numbers[:1_001] == 0).all()


@every_kind
def test_pictures_that_are_nearly_equal_hide_no_other(tmp_path: Path, kind: Kind) -> None:
    others = grouped_vectors(1_000)
    alike = of_unit_length(others[:1] + 1e-3 * unit_vectors(200, seed=3))
    found = built(tmp_path, np.concatenate([alike, others]), kind).search(others[1:], 1)[1][:, 0]
    assert (found == np.arange(201, 1_200)).all()


@every_kind
def test_a_row_that_is_no_unit_vector_is_refused_by_its_number(tmp_path: Path, kind: Kind) -> None:
    for value in (np.nan, np.inf, 0.0, 3.0):
        vectors = unit_vectors(50)
        vectors[17] = value
        with pytest.raises(ValueError, match="row 17 is no finite unit vector"):
            build_index(vectors, tmp_path, kind)


@every_kind
def test_a_repeated_row_is_refused_by_its_number(tmp_path: Path, kind: Kind) -> None:
    vectors = unit_vectors(50)
    vectors[31] = vectors[4]
    with pytest.raises(ValueError, match="row 31 repeats row 4"):
        build_index(vectors, tmp_path, kind)


@every_kind
def test_a_build_writes_the_files_of_its_kind(tmp_path: Path, kind: Kind) -> None:
    build_index(unit_vectors(60), tmp_path, kind)
    assert {path.name for path in tmp_path.iterdir()} == file_names(kind)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in sorted(file_names(kind))])
def test_a_full_disk_is_an_error_of_the_file_system(tmp_path: Path, kind: Kind, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        build_index(VECTORS[:300], tmp_path, kind)


@every_kind
def test_faiss_reads_and_writes_no_file(tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name in dir(faiss) if "read_" in name or "write_" in name or "serialize" in name]
    assert {"read_index", "write_index", "deserialize_index"} <= set(names)
    for name in names:
        monkeypatch.setattr(faiss, name, None)
    assert built(tmp_path, VECTORS[:60], kind).search(VECTORS[:1], 1)[1].tolist() == [[0]]


@every_kind
def test_a_mapped_vectors_file_is_unmapped_when_the_index_is_closed(tmp_path: Path, kind: Kind) -> None:
    index = built(tmp_path, VECTORS[:200], kind)
    index.warm_up()
    maps = Path("/proc/self/maps")
    mapped = {line.split()[-1] for line in maps.read_text(encoding="utf-8").splitlines() if str(tmp_path) in line}
    assert mapped >= {str(tmp_path / "vectors.npy")}
    index.close()
    assert str(tmp_path) not in maps.read_text(encoding="utf-8")


@every_kind
def test_a_missing_file_is_an_error_of_the_file_system(tmp_path: Path, kind: Kind) -> None:
    description = build_index(VECTORS[:60], tmp_path, kind)
    for name in file_names(kind):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        with pytest.raises(FileNotFoundError, match=name):
            opened(tmp_path, description, VECTORS[:60])
        (tmp_path / name).write_bytes(data)


def test_ten_of_a_hundred_thousand_rows_are_searched_exactly(tmp_path: Path) -> None:
    vectors, queries = unit_vectors(100_000, 16), unit_vectors(20, 16, seed=1)
    chosen = np.random.default_rng(0).choice(100_000, 10, replace=False)
    cosines, rows = built(tmp_path, vectors, "flat").search_rows(queries, chosen, 10)
    assert cosines == pytest.approx(best_cosines(queries, vectors[chosen], 10), abs=1e-6)
    assert (np.sort(rows) == np.sort(chosen)).all()
