"""Pictures are found under the names that catalogue files give them, and never a wrong one."""

import os
import unicodedata
from pathlib import Path

import pytest

from framematch.catalog.importing.pictures.picture_folder import PictureFolder
from framematch.core.errors import CatalogError

FILES = ("a.jpg", "Äpfel rot.jpg", "C.JPG", "sub/d.png", "e.jpg", "e.png", "F.jpg", "f.jpg", "notes.txt", "._q.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> PictureFolder:
    root = tmp_path / "Photos"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    (tmp_path / "secret.jpg").write_bytes(b"")
    return PictureFolder(root)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.jpg", "a.jpg"),
        ("F.jpg", "F.jpg"),
        (unicodedata.normalize("NFD", "Äpfel rot.jpg"), "Äpfel rot.jpg"),
        ("%C3%84pfel%20rot.jpg", "Äpfel rot.jpg"),
        ("äpfel rot.JPG", "Äpfel rot.jpg"),
        ("c.jpg", "C.JPG"),
        ("sub\\d.png", "sub/d.png"),
        (".\\SUB\\d.PNG", "sub/d.png"),
        ("/a.jpg", "a.jpg"),
        (' "a.jpg" ', "a.jpg"),
        ("photos/a.jpg", "a.jpg"),
        ("C:\\catalogue\\Photos\\sub\\d.png", "sub/d.png"),
        ("file:///data/Photos/a.jpg", "a.jpg"),
        ("a", "a.jpg"),
        ("a.jpeg", "a.jpg"),
        ("a.webp", "a.jpg"),
    ],
)
def test_a_name_in_another_spelling_finds_its_picture(folder: PictureFolder, name: str, found: str) -> None:
    assert folder.find(name) == found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("F.JPG", "image 'F.JPG' not found; it may be 'F.jpg' and 'f.jpg'"),
        ("e.gif", "image 'e.gif' not found; it may be 'e.jpg' and 'e.png'"),
        ("d.png", "image 'd.png' not found; the nearest is 'sub/d.png'"),
        ("other/a.jpg", "image 'other/a.jpg' not found; the nearest is 'a.jpg'"),
        ("Äpfel rpt.jpg", "image 'Äpfel rpt.jpg' not found; the nearest is 'Äpfel rot.jpg'"),
        ("notes", "image 'notes' not found"),
        ("q.jpg", "image 'q.jpg' not found"),
        ("../Secret.jpg", "image '../Secret.jpg' not found"),
        ("%2e%2e/secret.jpg", "image '%2e%2e/secret.jpg' not found"),
        ("yy.jpg|zz.jpg", "image 'yy.jpg|zz.jpg' not found; several pictures are separated by ';'"),
        ("\0", "image '\\x00' not found"),
        ("\ud800.jpg", "image '\\ud800.jpg' not found"),
        ("https://u:p@x/a.jpg", "image 'https://***@x/a.jpg' not found; the nearest is 'a.jpg'"),
    ],
)  # fmt: skip
def test_a_name_that_may_mean_no_or_several_pictures_is_an_error(
    folder: PictureFolder, name: str, message: str
) -> None:
    with pytest.raises(CatalogError) as caught:
        folder.find(name)
    assert caught.value.message == message


def test_a_file_name_that_is_not_utf_8_is_found_by_its_text(folder: PictureFolder) -> None:
    (folder.root / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    assert folder.find("café.jpg") == os.fsdecode(b"caf\xe9.jpg")
    assert folder.find("CAFÉ.png") == os.fsdecode(b"caf\xe9.jpg")


def test_hidden_folders_are_not_searched(folder: PictureFolder) -> None:
    (folder.root / ".thumbnails").mkdir()
    (folder.root / ".thumbnails" / "t.jpg").write_bytes(b"")
    with pytest.raises(CatalogError, match=r"'T.jpg' not found$"):
        folder.find("T.jpg")


def test_many_missing_names_are_not_compared_with_all_files(folder: PictureFolder) -> None:
    messages = []
    for number in range(100):
        with pytest.raises(CatalogError) as caught:
            folder.find(f"aa{number}.jpg")
        messages.append(caught.value.message)
    assert "nearest" not in messages[-1]
