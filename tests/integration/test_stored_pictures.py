"""Pictures that a catalogue file names are stored in a real MongoDB server."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from framematch.catalog.importing.pictures.catalogue_pictures import CataloguePictures, PictureProblem
from framematch.catalog.importing.pictures.picture_batch import BatchLimits
from framematch.catalog.importing.pictures.picture_folder import PictureFolder
from framematch.catalog.importing.pictures.picture_source import NoFiles, Respelling
from framematch.catalog.importing.pictures.stored_pictures import PictureNotices, StoredPictures
from framematch.catalog.importing.problems import ProblemKind
from framematch.catalog.mongo import Database
from framematch.catalog.products import ProductStore, View
from tests.unit.catalog.snapshots import picture

pytestmark = pytest.mark.integration


def digest(number: int) -> str:
    return hashlib.sha256(picture(number)).hexdigest()


def view(number: int) -> View:
    return View(digest(number), 24, 24)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def store(database: Database) -> ProductStore:
    return ProductStore(database)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_bytes(picture(number))
    return folder.resolve()


@pytest.fixture
def pictures(store: ProductStore, pool: ThreadPoolExecutor, images: Path) -> StoredPictures:
    return StoredPictures(store, pool, PictureFolder(images))


async def test_names_become_views_whose_bytes_are_stored(pictures: CataloguePictures, store: ProductStore) -> None:
    assert await pictures.store(["1.png", "0.png", "1.png"]) == {"1.png": view(1), "0.png": view(0)}
    assert await store.get_images([digest(0), digest(1)]) == {digest(0): picture(0), digest(1): picture(1)}


async def test_looking_stores_nothing_and_says_the_same(pictures: StoredPictures, store: ProductStore) -> None:
    looked = await pictures.look(["0.png", "none.png"])
    assert await store.database.images.count_documents({}) == 0
    assert looked == await pictures.store(["0.png", "none.png"])


async def test_a_bad_picture_is_a_problem_of_its_name_alone(
    pictures: StoredPictures, images: Path, store: ProductStore
) -> None:
    (images / "text.png").write_bytes(b"hello")
    (images / "cut.png").write_bytes(picture(0)[:60])
    (images / "link.png").symlink_to("/etc/hostname")
    outcomes = await pictures.store(["text.png", "cut.png", "link.png", "none.png", "../images.csv", "\0", "2.png"])
    problems = {name: one for name, one in outcomes.items() if isinstance(one, PictureProblem)}
    kinds = {name: problem.kind for name, problem in problems.items()}
    assert kinds == {
        "text.png": ProblemKind.BAD_IMAGE, "cut.png": ProblemKind.BAD_IMAGE, "link.png": ProblemKind.BAD_IMAGE,
        "none.png": ProblemKind.NO_IMAGE, "../images.csv": ProblemKind.NO_IMAGE, "\0": ProblemKind.NO_IMAGE,
    }  # fmt: skip
    assert problems["text.png"].reason.startswith("image 'text.png' is not an image")
    assert problems["link.png"].reason == "image 'link.png' is outside the images folder"
    assert outcomes["2.png"] == view(2)
    assert await store.database.images.distinct("_id") == [digest(2)]


async def test_what_is_stored_is_not_decoded_again(pictures: StoredPictures, images: Path, store: ProductStore) -> None:
    await store.database.images.insert_one({"_id": digest(9), "width": 7, "height": 8, "data": picture(9)})
    (images / "9.png").write_bytes(picture(9))
    assert await pictures.store(["9.png"]) == {"9.png": View(digest(9), 7, 8)}


async def test_a_picture_is_named_by_its_digest(pictures: StoredPictures) -> None:
    await pictures.store(["0.png"])
    known, unknown = f"sha256:{digest(0)}", f"sha256:{digest(3)}"
    outcomes = await pictures.store([known, unknown])
    assert outcomes[known] == view(0)
    assert outcomes[unknown] == PictureProblem(ProblemKind.NO_IMAGE, f"image '{unknown}' is not stored")


async def test_two_names_of_the_same_bytes_are_one_stored_image(
    pictures: StoredPictures, images: Path, store: ProductStore
) -> None:
    (images / "copy.png").write_bytes(picture(0))
    assert await pictures.store(["copy.png", "0.png"]) == {"copy.png": view(0), "0.png": view(0)}
    assert await store.database.images.count_documents({}) == 1


async def test_more_bytes_than_are_held_come_in_several_steps(
    store: ProductStore, pool: ThreadPoolExecutor, images: Path
) -> None:
    pictures = StoredPictures(
        store, pool, PictureFolder(images), limits=BatchLimits(held_bytes=len(picture(0)) * 2, written_bytes=1)
    )
    names = [f"{number}.png" for number in range(4)]
    assert await pictures.store(names) == {name: view(number) for number, name in enumerate(names)}
    assert await store.database.images.count_documents({}) == 4


async def test_pictures_under_another_name_are_noted(pictures: StoredPictures) -> None:
    assert await pictures.store(["0.PNG", "1.png"]) == {"0.PNG": view(0), "1.png": view(1)}
    assert pictures.notices == PictureNotices(1, (Respelling("0.PNG", "0.png"),))


async def test_an_address_is_looked_for_in_the_folder_by_its_last_part(pictures: StoredPictures) -> None:
    address = "https://cdn.shop.example/s/files/1/2.png?v=1700000000"
    assert await pictures.store([address]) == {address: view(2)}
    assert pictures.notices.respellings == (Respelling("https://cdn.shop.example/s/files/1/2.png?…", "2.png"),)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("https://user:pa?ss@x.example/a.png?key=k", "'https://***@x.example/a.png?…' is at no valid web address"),
        (
            "https://user:pass@x.example/none.png",
            "'https://***@x.example/none.png' has a user name or a password in its address, which is never sent",
        ),
        (
            "http://x.example:8080/none.png?key=secret#top",
            (
                "'http://x.example:8080/none.png?…' is at a web address; allow it with --allow-host x.example:8080, or "
                "give a folder with --images"
            ),
        ),
    ],
)  # fmt: skip
async def test_an_address_that_is_not_allowed_says_why_without_its_secrets(
    pictures: StoredPictures, address: str, problem: str
) -> None:
    assert await pictures.store([address]) == {address: PictureProblem(ProblemKind.NOT_ALLOWED, f"image {problem}")}


async def test_without_a_folder_a_file_is_a_problem(store: ProductStore, pool: ThreadPoolExecutor) -> None:
    outcomes = await StoredPictures(store, pool, NoFiles()).store(["a.png"])
    expected = "image 'a.png' is a file; name its folder or archive with --images"
    assert outcomes == {"a.png": PictureProblem(ProblemKind.NO_IMAGE, expected)}
