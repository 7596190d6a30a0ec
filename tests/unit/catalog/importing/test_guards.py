"""Tests of `framematch.catalog.importing.values.guards`."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framematch.catalog.importing.values.guards import guarded, unguarded, without_export_guard


@given(st.text() | st.text(alphabet="'=+-@\t\r\n a1"))
@example("'=1")
@example("''t Hart")
def test_removing_the_guard_of_an_export_gives_back_every_text(text: str) -> None:
    assert without_export_guard(guarded(text)) == text


@given(st.text(alphabet="'=+-@\t\r\n＝＋－＠ a1"))  # noqa: RUF001  # full width
def test_no_guarded_text_begins_as_a_formula_does(text: str) -> None:
    assert guarded(text)[:1] not in {*"=+-@\t\r\n＝＋－＠"}  # noqa: RUF001  # full width


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+49 30 1234", "-5", "@SUM(1)", "\t=1", "'=1"])
def test_what_a_spreadsheet_would_compute_is_guarded(text: str) -> None:
    assert guarded(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Shirt", "'t Hart", "12.90", " =1", "a=b"])
def test_other_texts_are_exported_as_they_are(text: str) -> None:
    assert guarded(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'7350177880121", "7350177880121"),
        ("'007", "007"),
        ("'12.90", "12.90"),
        ("'=1+1", "=1+1"),
        ('="00123"', "00123"),
        ('="a ""b"""', 'a "b"'),
        ("'t Hart", "'t Hart"),
        ("'90s poster", "'90s poster"),
        ("=1+1", "=1+1"),
        ('="a"&"b"', '="a"&"b"'),
        ("plain", "plain"),
    ],
)
def test_guards_of_shops_and_spreadsheets_are_removed(text: str, expected: str) -> None:
    assert unguarded(text) == expected
