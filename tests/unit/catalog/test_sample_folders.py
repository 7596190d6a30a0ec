"""Folders of labelled pictures: what they say, and what is wrong with them."""

from pathlib import Path

import pytest

from framematch.catalog.samples.contradictions import Statement, check_agreement
from framematch.catalog.samples.folders import read_folder
from framematch.core.errors import CatalogError, UsageError


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def groups(folder: Path, option: str) -> list[set[str]]:
    """The names of the pictures of each group."""
    found: dict[str, set[str]] = {}
    for picture in read_folder(folder, option).pictures:
        found.setdefault(picture.group, set()).add(picture.path.name)
    return sorted(found.values(), key=min)


@pytest.mark.parametrize("option", ["--frames", "--strangers"])
def test_a_folder_in_a_products_folder_is_one_occasion(tmp_path: Path, option: str) -> None:
    write(tmp_path, "p1/a.jpg", "p1/b.jpg", "p1/monday/c.jpg", "p1/monday/d.jpg", "p2/monday/e.jpg")
    assert groups(tmp_path, option) == [{"a.jpg"}, {"b.jpg"}, {"c.jpg", "d.jpg"}, {"e.jpg"}]


def test_a_folder_of_empty_scenes_is_one_occasion(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b.jpg", "hall/c.jpg", "hall/d.jpg")
    assert groups(tmp_path, "--nothing") == [{"a.jpg"}, {"b.jpg"}, {"c.jpg", "d.jpg"}]


def test_products_are_the_names_of_folders_in_composed_characters(tmp_path: Path) -> None:
    write(tmp_path, "cafe\u0301/a.jpg")
    assert [one.product_id for one in read_folder(tmp_path, "--frames").pictures] == ["caf\u00e9"]


def test_strangers_are_no_products(tmp_path: Path) -> None:
    (picture,) = read_folder(write(tmp_path, "any/a.jpg"), "--strangers").pictures
    assert (picture.label, picture.product_id) == ("stranger", None)


def test_hidden_files_and_other_kinds_are_ignored(tmp_path: Path) -> None:
    write(tmp_path, "p/a.JPG", "p/.b.jpg", "p/notes.txt", ".hidden/c.jpg")
    assert groups(tmp_path, "--frames") == [{"a.JPG"}]


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_used(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "empty.jpg").touch()
    found = read_folder(tmp_path, "--nothing")
    assert [one.path.name for one in found.pictures] == ["a.jpg"]
    assert found.problems == (f"{tmp_path / 'empty.jpg'}: empty", f"{tmp_path / 'gone.jpg'}: no file")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder"):
        read_folder(tmp_path / "none", "--frames")


def said(image: str, product_id: str | None, where: str) -> Statement:
    return Statement(image, "product" if product_id else "nothing", product_id, where)


def test_a_picture_may_be_said_to_show_one_thing_twice() -> None:
    check_agreement([said("1", "p", "a"), said("1", "p", "b"), said("2", None, "c")])


def test_a_picture_that_shows_two_things_is_named_with_both() -> None:
    with pytest.raises(CatalogError, match=r"a shows product 'p', and b, which has the same bytes, no product"):
        check_agreement([said("1", "p", "a"), said("1", None, "b")])
