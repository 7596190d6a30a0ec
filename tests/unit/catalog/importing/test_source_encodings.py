"""The bytes of a file: its encoding, what gzip packed, and what is no text at all."""

import csv
import gzip
import io
import os
import threading
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from framematch.catalog.importing.files import encodings
from framematch.catalog.importing.files.open_file import open_source
from framematch.catalog.importing.files.records import Defect, Record
from framematch.catalog.importing.files.source_file import ReadOptions
from framematch.catalog.importing.problems import ProblemKind
from framematch.core.errors import CatalogError, UsageError
from tests.unit.catalog.importing.source_files import SHORT, fields, opened, outline, records, row_with_id

TABLE = "id,name,image\n1,Äpfel,a.jpg\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_the_encodings_that_a_file_names_are_read(encoding: str) -> None:
    with opened(TABLE.encode(encoding)) as source:
        assert (source.encoding, source.notices) == (encoding.removesuffix("-sig"), ())
        assert [record.content for record in source.records] == [{"id": "1", "name": "Äpfel", "image": "a.jpg"}]


@pytest.mark.parametrize("header", ["id,name", '"id","name"'])
def test_a_mark_hides_no_column(header: str) -> None:
    """As in OkayCMS PR#420, dotCMS#36508 and PIMGento#215: `sku not found`."""
    assert fields(b"\xef\xbb\xbf" + f"{header}\n1,Apple\n".encode()) == [{"id": "1", "name": "Apple"}]


def test_utf_16_with_tabs_as_spreadsheets_save_it_is_read() -> None:
    assert fields("id\tname\r\n1\tMünchen\r\n".encode("utf-16")) == [{"id": "1", "name": "München"}]


def test_semicolons_in_windows_1252_are_read_with_a_notice() -> None:
    """As in woocommerce#33481: what a German Excel writes."""
    with opened("id;Größe;Preis\n1;groß;4,20 €\n".encode("cp1252")) as source:
        assert (source.encoding, source.delimiter) == ("cp1252", ";")
        assert source.notices == (
            (
                "The file is not UTF-8 (byte 0xf6 on line 1), so it is read as Windows-1252. "
                "If texts look wrong, state --encoding."
            ),
        )
        assert [record.content for record in source.records] == [{"id": "1", "Größe": "groß", "Preis": "4,20 €"}]


def test_a_word_in_windows_1252_is_what_it_was() -> None:
    """As in snipe-it#16518, where it became Mьnchen."""
    assert fields(b"id,city\n1,M\xfcnchen\n") == [{"id": "1", "city": "München"}]


def test_the_notice_names_the_first_byte_and_its_line() -> None:
    with opened(b"id,name\r\n1,a\r\n2,M\xfcller\r\n3,\xe4\r\n") as source:
        assert "byte 0xfc on line 3" in source.notices[0]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("before", range(15, 30))
def test_the_line_is_right_wherever_the_file_is_cut_into_pieces(
    end: bytes, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encodings, "_PIECE_BYTES", 8)
    data = b"id,name" + end + b"1," + b"x" * before + "é".encode() + end + b"2,y" + end + b"3,M\xfcl" + end
    with opened(data) as source:
        assert "byte 0xfc on line 4" in source.notices[0] + " ".join(source.notices)


def test_utf_8_with_some_other_bytes_loses_those_rows_and_no_other_text() -> None:
    data = (SHORT + "1,Äpfel und Öl,a.jpg\n").encode() + b"2,K\xf6se,b.jpg\n"
    with opened(data) as source:
        assert source.notices == (
            "The file is UTF-8, but not throughout: byte 0xf6 on line 3 is the first that does not fit.",
        )
        first, second = source.records
    assert first.content == {"id": "1", "name": "Äpfel und Öl", "image": "a.jpg"}
    reason = "name has byte 0xf6, which is not utf-8 text; as Windows-1252 it reads 'Köse'"
    assert second == Record(3, 3, Defect(ProblemKind.NOT_TEXT, reason, "2,K\udcf6se,b.jpg"))


def test_bytes_that_windows_1252_has_not_cost_their_row() -> None:
    (good, bad) = records(b"id,name\n1,M\xfcller\n2,\x81\n")
    assert good.content == {"id": "1", "name": "Müller"}
    assert bad.content == Defect(ProblemKind.NOT_TEXT, "name has byte 0x81, which is not cp1252 text", "2,\udc81")


def test_a_stated_encoding_wins() -> None:
    assert fields("id,name\n1,Привет\n".encode("cp1251"), "windows-1251")[0]["name"] == "Привет"
    assert fields("id,name\n1,é\n".encode(), "latin-1")[0]["name"] == "Ã©"


def test_bytes_that_do_not_fit_the_stated_encoding_cost_their_row() -> None:
    assert outline(b"id,name\n1,a\n2,\xfc\n", "utf-8") == ["1", "?3"]
    assert outline(b"id,name\n1,a\n2,\xfc\n", "ascii") == ["1", "?3"]
    assert outline("id,name\n1,日本\n".encode("shift_jis") + b"2,\x81\n", "shift_jis") == ["1", "?3"]


def test_a_stated_encoding_that_contradicts_the_mark_is_told() -> None:
    with opened(b"\xef\xbb\xbfx,id\n1,2\n", "cp1252") as source:
        assert source.notices == ("The file has the mark of UTF-8, but is read as cp1252, as you stated.",)


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16", "utf-8", "UTF8"])
def test_a_stated_encoding_may_have_its_mark(name: str) -> None:
    mark = b"\xff\xfe" if "16" in name else b"\xef\xbb\xbf"
    data = mark + TABLE.encode("utf-16-le" if "16" in name else "utf-8")
    with opened(data, name) as source:
        assert source.notices == ()
        assert source.columns == ("id", "name", "image")


@pytest.mark.parametrize(("name", "near"), [("cp1525", "cp125"), ("utf9", "utf"), ("latin-one", "latin")])
def test_an_unknown_encoding_names_near_ones(name: str, near: str) -> None:
    with pytest.raises(UsageError) as caught, opened(TABLE, name):
        pass
    assert caught.value.message == f"there is no encoding {name!r}"
    assert near in caught.value.hint


@pytest.mark.parametrize("name", ["base64", "rot13", "zip", "idna", "unicode_escape", "", "a\0b", "../x"])
def test_what_is_no_encoding_of_text_files_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="there is no encoding"), opened(TABLE, name):
        pass


def test_utf_16_without_a_mark_is_refused_with_what_to_state() -> None:
    data = TABLE.encode("utf-16-le")
    with pytest.raises(CatalogError) as caught, opened(data):
        pass
    assert caught.value.hint == "State it: --encoding utf-16-le"
    assert fields(data, "utf-16-le")[0]["name"] == "Äpfel"


def test_a_utf_16_file_that_is_cut_within_a_character_costs_one_row() -> None:
    assert outline((SHORT + "1,Apple,a.jpg\n2,Pear,b.jpg").encode("utf-16")[:-1]) == ["1", "?3"]


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"PK\x03\x04", "an Excel workbook"),
        (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
        (b"BZh9", "compressed with bzip2"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"%PDF-1.7", "a PDF"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "no text"),
    ],
)
def test_what_is_no_text_is_named(start: bytes, what: str) -> None:
    with pytest.raises(CatalogError, match=what), opened(start + b"more"):
        pass


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_a_path_that_cannot_be_read_is_a_wrong_use(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot read"), open_source(tmp_path / name, ReadOptions(), row_with_id):
        pass


def test_a_pipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(TABLE.encode("cp1252"),))
    writer.start()
    with open_source(path, ReadOptions(), row_with_id) as source:
        assert [record.content for record in source.records] == [{"id": "1", "name": "Äpfel", "image": "a.jpg"}]
    writer.join()


def test_what_gzip_has_packed_is_read() -> None:
    data = gzip.compress(TABLE.encode()) + gzip.compress("2,Öl,b.jpg\n".encode())
    with opened(data) as source:
        assert [record.content for record in source.records][1:] == [{"id": "2", "name": "Öl", "image": "b.jpg"}]
        assert source.progress.done_bytes() == source.progress.total_bytes == len(data)


def test_packed_data_that_end_in_the_middle_are_not_taken_for_complete() -> None:
    rows = "".join(f"{number},Product {number * 7919},{number * 104729}.jpg\n" for number in range(20_000))
    found = records(gzip.compress((SHORT + rows).encode())[:-40_000])
    assert 1_000 < len(found) < 20_000
    assert all(isinstance(record.content, dict) for record in found[:-1])
    assert isinstance(found[-1].content, Defect)
    assert found[-1].content.kind is ProblemKind.CUT
    assert found[-1].content.reason == "the file ends in the middle: the gzip data end in the middle"


def test_damaged_packed_data_are_not_taken_for_complete() -> None:
    data = bytearray(gzip.compress(os.urandom(200).hex().join([SHORT, "\n1,a,b\n" * 50]).encode()))
    data[-6] ^= 0xFF  # of the checksum
    last = records(bytes(data))[-1].content
    assert isinstance(last, Defect)
    assert "damaged" in last.reason


def test_a_bomb_is_refused() -> None:
    bomb = gzip.compress((SHORT + "1,A,a.jpg\n" * 10).encode() + b"\n" * 100_000_000)
    with pytest.raises(CatalogError, match="unpacks to more than 200 times its size"), opened(bomb):
        pass


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


CELL = st.text(alphabet=st.sampled_from('aé",;|ß €1.'), max_size=8)


@given(
    rows=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_windows_1252_is_read_as_it_was_written(rows: list[tuple[str, str]], delimiter: str, end: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator=end)
    writer.writerow(("id", "x", "y"))
    writer.writerows((str(number), *row) for number, row in enumerate(rows))
    written = text.getvalue().encode("cp1252")
    assume(written.isascii() or not _is_utf_8(written))  # nobody could tell which of both it was meant to be
    assert fields(written) == [
        {"id": str(number), **{key: cell.strip() for key, cell in zip("xy", row, strict=True) if cell.strip()}}
        for number, row in enumerate(rows)
    ]
