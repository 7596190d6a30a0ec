"""Tests of `framematch.catalog.importing.values.gtin`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.catalog.importing.values.errors import ValueRefused
from framematch.catalog.importing.values.gtin import check_digit, parse_gtin


def refusal(text: str) -> str:
    with pytest.raises(ValueRefused) as refused:
        parse_gtin(text)
    return refused.value.reason


def test_a_barcode_is_the_same_with_and_without_its_leading_zero() -> None:
    assert parse_gtin("711719814153") == parse_gtin("0711719814153") == "00711719814153"


@pytest.mark.parametrize(
    ("text", "gtin"),
    [
        ("96385074", "00000096385074"),
        ("036000291452", "00036000291452"),
        ("4006381333931", "04006381333931"),
        ("10012345678902", "10012345678902"),
        ("36000291452", "00036000291452"),
        ("'7350177880121", "07350177880121"),
        ('="4006381333931"', "04006381333931"),
        ("4006381333931.0", "04006381333931"),
        ("978-3-16-148410-0", "09783161484100"),
        (" 0 36000 29145 2 ", "00036000291452"),
        ("４００６３８１３３３９３１", "04006381333931"),  # noqa: RUF001  # full width
    ],
)
def test_numbers_in_any_spelling_have_14_digits(text: str, gtin: str) -> None:
    assert parse_gtin(text) == gtin


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("5.90123E+12", "has lost digits in a spreadsheet; export it again as text"),
        ("5,90123E+12", "has lost digits in a spreadsheet; export it again as text"),
        ("4006381333932", "is no GTIN: its check digit would be 1"),
        ("11719814153", "is no GTIN: its check digit would be 4"),
        ("7350177880", "may be an ISBN-10, which is no GTIN; write the ISBN with 13 digits"),
        ("3-16-148410-X", "may be an ISBN-10, which is no GTIN; write the ISBN with 13 digits"),
        ("4006381333931.5", "is no GTIN: it does not have 8, 12, 13 or 14 digits"),
        ("0000000000000", "is no GTIN: it has only zeros"),
        ("does not apply", "is no GTIN: it does not have 8, 12, 13 or 14 digits"),
        ("", "is no GTIN: it does not have 8, 12, 13 or 14 digits"),
    ],
)
def test_what_is_no_gtin_is_refused_with_a_reason(text: str, reason: str) -> None:
    assert refusal(text) == f"{text!r} {reason}"


@given(st.sampled_from([7, 11, 12, 13]), st.data())
def test_any_one_wrong_digit_is_noticed(length: int, data: st.DataObject) -> None:
    body = data.draw(st.text(alphabet="0123456789", min_size=length, max_size=length).filter(int))
    gtin = body + check_digit(body)
    assert parse_gtin(gtin) == gtin.zfill(14)
    place = data.draw(st.integers(0, length))
    wrong = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != gtin[place]]))
    assert "is no GTIN" in refusal(gtin[:place] + wrong + gtin[place + 1 :])
