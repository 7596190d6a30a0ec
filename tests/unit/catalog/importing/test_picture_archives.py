"""Pictures in archives are found as those in a folder are, and no archive can do harm."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from framematch.catalog.importing.pictures.archives.members import ArchiveLimits
from framematch.catalog.importing.pictures.archives.opening import is_zip, open_archive_catalogue, open_pictures
from framematch.catalog.importing.pictures.archives.tar_files import TarFiles, gunzip
from framematch.catalog.importing.pictures.archives.zip_files import ZipFiles
from framematch.core.errors import CatalogError, UsageError

FILES = {
    "photos/a.jpg": b"of a",
    "photos/Äpfel rot.jpg": b"of apples",
    "photos/sub/d.png": b"of d",
    "photos/2023/shirt.jpg": b"old shirt",
    "photos/2024/shirt.jpg": b"new shirt",
    "__MACOSX/photos/._a.jpg": b"no picture",
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMATCH_CACHE_DIR", str(tmp_path / "cache"))


def make_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return path


def make_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in {".gz", ".tgz"} else "w") as opened:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            opened.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture(params=["photos.zip", "photos.tar", "photos.tar.gz", "photos.tgz", "renamed"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    return make_tar(path, FILES) if ".t" in path.name else make_zip(path, FILES)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jpg", b"of a"),
        ("photos/a.jpg", b"of a"),
        ("A.JPEG", b"of a"),
        ("a%CC%88pfel%20rot.jpg", b"of apples"),
        ("sub\\D.png", b"of d"),
    ],
)
def test_a_picture_is_found_as_in_a_folder(archive: Path, name: str, data: bytes) -> None:
    with open_pictures(archive) as pictures:
        path = pictures.find(name)
        assert pictures.read(path).data == data
        assert pictures.size(path) == len(data)


def test_a_missing_picture_is_an_error_that_names_the_nearest(archive: Path) -> None:
    with open_pictures(archive) as pictures, pytest.raises(CatalogError) as caught:
        pictures.find("d.png")
    assert caught.value.message == "image 'd.png' not found; the nearest is 'sub/d.png'"


def test_of_two_pictures_at_the_end_of_an_address_its_folders_decide(archive: Path) -> None:
    with open_pictures(archive) as pictures:
        assert pictures.find_address("https://x.example/uploads/2024/SHIRT.jpg?v=1") == "2024/shirt.jpg"
        assert pictures.find_address("https://x.example/uploads/shirt.jpg") is None
        assert pictures.find_address("https://x.example/") is None
        assert pictures.find_address("https://[x/a.jpg") is None


def test_nothing_of_an_archive_stays_on_the_disk(archive: Path, tmp_path: Path) -> None:
    with open_pictures(archive) as pictures:
        assert pictures.read("a.jpg").data == b"of a"
        assert list((tmp_path / "cache").glob("*")) == []


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "x/..\\..\\a.jpg", "//host/a.jpg"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_an_archive_with_a_name_that_leads_out_of_it_is_refused(
    tmp_path: Path, name: str, make: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    suffix = ".zip" if make is make_zip else ".tar"
    path = make(tmp_path / f"x{suffix}", {"a.jpg": b"", name: b""})
    with pytest.raises(CatalogError, match="leads out of it"), open_pictures(path):
        pass


def test_links_in_archives_are_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, kind in (("soft.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE), ("tty.jpg", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/hostname"
            tar.addfile(member)
    with open_pictures(tmp_path / "x.tar") as pictures:
        for name in ("soft.jpg", "hard.jpg", "tty.jpg"):
            with pytest.raises(CatalogError, match="is a link in the archive"):
                pictures.find(name)
            with pytest.raises(CatalogError, match="not found"):
                pictures.read(name)
    link = zipfile.ZipInfo("soft.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened:
        opened.writestr(link, "/etc/hostname")
    with open_pictures(tmp_path / "x.zip") as pictures, pytest.raises(CatalogError, match="is a link"):
        pictures.find("soft.jpg")


def test_of_two_names_that_differ_in_case_each_has_its_picture(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "PHOTOS.ZIP", {"koikoi.gif": b"small", "KoiKoi.gif": b"large"})
    with open_pictures(path) as pictures:
        assert [pictures.read(pictures.find(name)).data for name in ("koikoi.gif", "KoiKoi.gif")] == [
            b"small",
            b"large",
        ]
        with pytest.raises(CatalogError, match=r"it may be 'KoiKoi.gif' and 'koikoi.gif'"):
            pictures.find("KOIKOI.gif")


def test_a_damaged_picture_is_its_own_problem_alone(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.jpg": b"A" * 100, "b.jpg": b"B" * 100}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"A" * 100, b"A" * 99 + b"x"))
    with open_pictures(path) as pictures:
        with pytest.raises(CatalogError, match=r"image 'a.jpg' is damaged in the archive: Bad CRC"):
            pictures.read("a.jpg")
        assert pictures.read("b.jpg").data == b"B" * 100


def test_an_encrypted_picture_is_its_own_problem_alone(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.jpg": b"A", "b.jpg": b"B"}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag in the table of contents
    path.write_bytes(data)
    with open_pictures(path) as pictures:
        with pytest.raises(CatalogError, match="is encrypted; make the archive again, without a password"):
            pictures.read("a.jpg")
        assert pictures.read("b.jpg").data == b"B"


def test_a_picture_in_an_unknown_compression_is_its_own_problem_alone(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.jpg": b"A", "b.jpg": b"B"}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 10] = 9  # Deflate64, as Windows packs large files
    path.write_bytes(data)
    with open_pictures(path) as pictures:
        with pytest.raises(CatalogError, match=r"image 'a.jpg' cannot be unpacked: That compression method"):
            pictures.read("a.jpg")
        assert pictures.read("b.jpg").data == b"B"


def test_a_picture_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", {"a.jpg": b"\xff" * 15_000_001})
    with open_pictures(path) as pictures, pytest.raises(CatalogError, match="has more than 15 MB"):
        pictures.read("a.jpg")


def test_a_bomb_is_no_picture(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.jpg": b"\0" * 2_000_000})
    with open_pictures(path) as pictures, pytest.raises(CatalogError, match="is packed to less than a 200th"):
        pictures.read("a.jpg")


def test_a_compressed_bomb_is_refused_while_it_is_unpacked(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar.gz", {"a.jpg": b"\0" * 120_000_000})
    with pytest.raises(CatalogError, match="packed to less than a 200th"), open_pictures(path):
        pass


@pytest.mark.parametrize("limits", [ArchiveLimits(files_max=5), ArchiveLimits(unpacked_bytes_max=30)])
def test_an_archive_with_too_much_in_it_is_refused(tmp_path: Path, limits: ArchiveLimits) -> None:
    message = "has more than (5 files|30 bytes)"
    with make_zip(tmp_path / "x.zip", FILES).open("rb") as file, pytest.raises(CatalogError, match=message):
        ZipFiles(file, limits)
    with make_tar(tmp_path / "x.tar", FILES).open("rb") as file, pytest.raises(CatalogError, match=message):
        TarFiles(file, limits)


def test_unpacking_ends_at_the_limit(tmp_path: Path) -> None:
    with make_tar(tmp_path / "x.tar.gz", FILES).open("rb") as file, pytest.raises(CatalogError, match="more than 30"):
        gunzip(file, io.BytesIO(), ArchiveLimits(unpacked_bytes_max=30))


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_an_archive_that_was_not_copied_completely_is_refused(tmp_path: Path, name: str) -> None:
    pictures = {f"{number}.jpg": bytes(range(256)) * 100 for number in range(10)}
    path = make_zip(tmp_path / name, pictures) if name == "x.zip" else make_tar(tmp_path / name, pictures)
    path.write_bytes(path.read_bytes()[:-20_000] if name == "x.tar" else path.read_bytes()[:-100])
    with pytest.raises(CatalogError, match=r"damaged or incomplete|cannot be unpacked"), open_pictures(path):
        pass


def test_a_name_in_utf_8_that_does_not_say_so_is_read(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"\u00c4.jpg": b"A"}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 9] &= ~0x08  # the flag "the name is UTF-8", which some programs do not set
    data[data.index(b"PK\x03\x04") + 7] &= ~0x08
    path.write_bytes(data)
    with open_pictures(path) as pictures:
        assert pictures.read(pictures.find("ä.jpg")).data == b"A"


def test_what_is_neither_a_folder_nor_an_archive_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "a.rar"
    path.write_bytes(b"Rar!" * 200)
    with pytest.raises(UsageError, match="neither a folder nor a ZIP or tar archive"), open_pictures(path):
        pass
    with pytest.raises(UsageError, match="there is no folder or archive"), open_pictures(tmp_path / "none"):
        pass


def test_a_catalogue_file_is_read_from_its_archive_with_its_pictures(tmp_path: Path) -> None:
    files = {"export/products.csv": b"sku;image\n", "export/readme.txt": b"", "export/files/s/picture/x.jpg": b"X"}
    with open_archive_catalogue(make_zip(tmp_path / "export.zip", files)) as catalogue:
        assert (catalogue.path, catalogue.file.read()) == ("export/products.csv", b"sku;image\n")
        assert catalogue.pictures.read(catalogue.pictures.find("files/s/picture/X.jpg")).data == b"X"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.jpg": b""}, "has no catalogue files"),
        ({"a.csv": b"", "b.xml": b""}, "has 2 catalogue files"),
        ({"[Content_Types].xml": b"", "xl/workbook.xml": b""}, "is an Excel workbook. Save it as CSV"),
    ],
)
def test_an_archive_without_one_catalogue_file_says_so(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    path = make_zip(tmp_path / "x.zip", files)
    assert is_zip(path)
    with pytest.raises(CatalogError, match=message), open_archive_catalogue(path):
        pass
