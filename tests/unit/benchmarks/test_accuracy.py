"""The pieces of the accuracy benchmark: its data set, its scores, and what it takes for a sample."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.closed_set import share_figure
from benchmarks.accuracy.conditions import CONDITIONS, frames_of
from benchmarks.accuracy.dataset import read_dataset
from benchmarks.accuracy.open_set import scored
from benchmarks.accuracy.scores import SCORES, best_view
from framematch.core.errors import UsageError
from framematch.model_build.adapt.discriminant import unit

HEADER = "Class Name (str),Class ID (int),Coarse Class Name (str),Iconic Image Path (str)\n"
RNG = np.random.default_rng(0)
VIEWS = unit(RNG.normal(size=(4, 3, 16)).astype(np.float32))


def write(folder: Path, classes: str, split: str = "") -> Path:
    (folder / "classes.csv").write_text(classes, encoding="utf-8")
    if split:
        (folder / "val.txt").write_text(split, encoding="utf-8")
    return folder


def test_products_and_photos_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    classes = HEADER + "Granny-Smith,0,Apple,/icons/a.jpg\nOatly,1,Milk,/icons/b.jpg\n"
    data = read_dataset(write(tmp_path, classes, "val/x.jpg, 1, 0\nval/y.jpg, 0, 0\n"))
    assert (data.names, data.categories) == (("Granny Smith", "Oatly"), ("Apple", "Milk"))
    assert data.iconic[0] == tmp_path / "icons" / "a.jpg"
    assert [(photo.path.name, photo.product) for photo in data.photos("val")] == [("x.jpg", 1), ("y.jpg", 0)]


@pytest.mark.parametrize(
    ("classes", "split", "message"),
    [
        ("name\nkiwi\n", "", "does not have the columns"),
        (HEADER + "Kiwi,1,Kiwi,/a.jpg\n", "", "not numbered from 0"),
        (HEADER + "Kiwi,0,Kiwi,/a.jpg\n", "x.jpg, 7, 0\n", "line 1: '7' is no product's number"),
        (HEADER + "Kiwi,0,Kiwi,/a.jpg\n", "\n", "line 1: '' is no product's number"),
        (HEADER + "Kiwi,0,Kiwi,/a.jpg\n", "", "cannot read"),
    ],
)
def test_what_is_no_such_data_set_is_refused_by_its_file_and_line(
    tmp_path: Path, classes: str, split: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read_dataset(write(tmp_path, classes, split)).photos("val")


@pytest.mark.parametrize("name", SCORES)
def test_every_score_finds_a_product_by_a_picture_that_is_one_of_its_views(name: str) -> None:
    many = unit(RNG.normal(size=(40, 1, 16)).astype(np.float32))
    found = SCORES[name](many[:, 0], np.repeat(many, 3, axis=1), many[:, 0])
    assert found.argmax(axis=1).tolist() == list(range(40))


def test_a_sample_knows_its_candidates_with_and_without_its_own_product() -> None:
    [known, stranger] = scored(VIEWS[[1, 3], 0], np.array([1, 3]), VIEWS, [0, 1, 2])
    assert (known.label.kind, known.candidates[0].product_id) == ("product", "1")
    assert known.candidates[0].score == pytest.approx(1)
    assert {one.product_id for one in known.siblings} == {"0", "2"}
    assert (stranger.label.kind, stranger.shows, stranger.siblings) == ("stranger", frozenset(), ())
    found = sorted(best_view(VIEWS[3:, 0], VIEWS[:3])[0], reverse=True)
    assert [one.score for one in stranger.candidates] == pytest.approx(found)


def test_the_interval_of_a_share_is_wider_when_the_photos_of_a_product_agree() -> None:
    alike = share_figure(np.repeat([0.0, 1.0], 50), np.repeat([0, 1], 50), "share")
    mixed = share_figure(np.tile([0.0, 1.0], 50), np.arange(100), "share")
    assert alike.median == mixed.median == 0.5
    assert alike.high - alike.low > mixed.high - mixed.low


def test_each_condition_and_each_frame_gives_another_jpeg_of_the_picture() -> None:
    picture = RNG.integers(0, 255, (64, 48, 3)).astype(np.uint8)
    made = [condition(picture) for condition in CONDITIONS.values()] + frames_of(picture, 3, seed=1)
    assert all(one.startswith(b"\xff\xd8") for one in made)
    assert len(set(made)) == len(CONDITIONS) + 3
    assert frames_of(picture, 3, seed=1) == made[-3:]
