"""Tests of `framematch.catalog.importing.values.money`."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.catalog.importing.values.errors import ValueRefused
from framematch.catalog.importing.values.money import (
    MAX_DIGITS,
    DecimalSign,
    Money,
    decimal_sign,
    money_of_number,
    parse_money,
)

COMMA_PRICES = ["4,20", "4.204,23", "1 234,56", "1'234.50"]
AMBIGUOUS = "is 1234 or 1.234; name the decimal sign with --decimal . or ,"

# How countries write 1234567.89: the sign between groups, and before decimals.
STYLES: list[tuple[str, DecimalSign]] = [
    (",", "."), (".", ","), (" ", ","), ("\u00a0", ","), ("\u202f", ","), ("'", "."), ("’", "."), ("", "."), ("", ","),  # noqa: RUF001  # countries differ
]  # fmt: skip
AFFIXES: list[tuple[Callable[[str], str], str | None]] = [
    (lambda text: text, None),
    (lambda text: f"{text} €", "EUR"),
    (lambda text: f"EUR {text}", "EUR"),
    (lambda text: f"US${text}", "USD"),
    (lambda text: f"CHF\u00a0{text}", "CHF"),
    (lambda text: f"{text}zł", "PLN"),
    (lambda text: f"{text} kr", None),
]
amounts = st.decimals(min_value=0, max_value=10**12, places=2, allow_nan=False, allow_infinity=False)


def refusal(text: str, decimal: DecimalSign | None = None) -> str:
    with pytest.raises(ValueRefused) as refused:
        parse_money(text, decimal)
    return refused.value.reason


@given(amounts, st.sampled_from(STYLES), st.sampled_from(AFFIXES))
def test_an_amount_in_the_style_of_any_country_is_read_as_it_was_written(
    amount: Decimal, style: tuple[str, DecimalSign], affix: tuple[Callable[[str], str], str | None]
) -> None:
    group, decimal = style
    write, currency = affix
    text = f"{amount:,.2f}".replace(",", "G").replace(".", decimal).replace("G", group)
    assert parse_money(write(text), None) == Money(amount, currency)


@given(st.integers(0, 10**MAX_DIGITS - 1), st.sampled_from(STYLES))
def test_an_amount_without_decimals_is_read_with_the_sign_of_its_column(
    amount: int, style: tuple[str, DecimalSign]
) -> None:
    group, decimal = style
    assert parse_money(f"{amount:,}".replace(",", group), decimal).amount == amount


@given(st.decimals(0, 999, places=3), st.sampled_from([".", ","]))
def test_three_decimals_are_read_with_the_sign_of_their_column(amount: Decimal, decimal: DecimalSign) -> None:
    assert parse_money(f"{amount:.3f}".replace(".", decimal), decimal).amount == amount


@given(st.text(alphabet="0123456789.,' -()eE_+$€²٣", max_size=12))
def test_any_text_is_an_amount_that_is_not_negative_or_is_refused(text: str) -> None:
    try:
        assert parse_money(text, ".").amount >= 0
    except ValueRefused:
        return


def test_a_column_of_several_styles_is_read_cell_by_cell() -> None:
    expected = [Decimal("4.20"), Decimal("4204.23"), Decimal("1234.56"), Decimal("1234.50")]
    assert [parse_money(text, None).amount for text in COMMA_PRICES] == expected


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("28.00 USD", "28.00", "USD"),
        ("EUR 4,20", "4.20", "EUR"),
        ("4,20 €", "4.20", "EUR"),
        ("CHF 1'234.50", "1234.50", "CHF"),
        ("CHF 12.–", "12", "CHF"),  # noqa: RUF001  # as Swiss shops write it
        ("12,-", "12", None),
        ("USD $28.00", "28.00", "USD"),
        ("Rs. 1,23,456.00", "123456.00", None),
        ("Rs.500", "500", None),
        ("kr. 99,95", "99.95", None),
        ("12.50 Fr.", "12.50", None),
        ("￥１２００", "1200", None),  # noqa: RUF001  # full width
        ("٤٫٢٠", "4.20", None),  # noqa: RUF001  # Arabic
        ("'4,20", "4.20", None),
        ('="4.20"', "4.20", None),
        (".5", "0.5", None),
        ("0.500", "0.500", None),
        ("1234.567", "1234.567", None),
        ("1.234.567", "1234567", None),
        ("1.234,567", "1234.567", None),
        ("007.50", "7.50", None),
    ],
)
def test_amounts_of_shops_are_read(text: str, amount: str, currency: str | None) -> None:
    assert parse_money(text, None) == Money(Decimal(amount), currency)


@pytest.mark.parametrize(
    ("text", "shown"), [("12.500000", "12.50"), ("4.00", "4.00"), ("4.0", "4.0"), ("0.12340", "0.1234"), ("4", "4")]
)
def test_zeros_behind_the_cents_are_left_out(text: str, shown: str) -> None:
    assert str(parse_money(text, None).amount) == shown


@pytest.mark.parametrize("text", ["$ 5", "5 kr", "¥5", "Rs 5", "5 lei"])
def test_a_sign_of_several_currencies_names_none(text: str) -> None:
    assert parse_money(text, None) == Money(Decimal(5))


@pytest.mark.parametrize("text", ["-5", "−5", "(5.00)", "$(5.00)", "$-5", "-$5", "5-", "5.00- €"])  # noqa: RUF001  # a minus
def test_negative_amounts_are_refused(text: str) -> None:
    assert refusal(text) == f"{text!r} is negative"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1_000", "is not an amount such as 12.90"),
        ("nan", "is not an amount such as 12.90"),
        ("Infinity", "is not an amount such as 12.90"),
        ("4²⁰", "is not an amount such as 12.90"),
        ("12½", "is not an amount such as 12.90"),
        ("12.00-15.00", "is not an amount such as 12.90"),
        ("5.", "is not an amount such as 12.90"),
        ("1e3", "is in scientific notation; export it again as a plain number"),
        ("1.2E+03 €", "is in scientific notation; export it again as a plain number"),
        ("12.00 / kg", "has '/', which is no currency"),
        ("from 12", "has 'from', which is no currency"),
        ("+5", "has '+', which is no currency"),
        ("€5 USD", "has two currencies"),
        ("1,2,3", "does not separate groups of three digits"),
        ("12 90", "does not separate groups of three digits"),
        ("1.234 567", "does not separate groups of three digits"),
        ("1.234,567.89", "does not separate groups of three digits"),
        ("1234567890123456789", "has more than 18 digits"),
        ("1.2345678901234567891", "has more than 18 digits"),
    ],
)
def test_what_is_no_amount_is_refused_with_a_reason(text: str, reason: str) -> None:
    assert refusal(text) == f"{text!r} {reason}"


def test_a_long_cell_is_shortened_in_the_reason() -> None:
    assert refusal("x" * 1_000) == f"{'x' * 39 + '…'!r} is not an amount such as 12.90"


@pytest.mark.parametrize("text", ["1.234", "1,234", "€1.234"])
def test_three_digits_behind_one_sign_are_ambiguous_without_the_sign_of_the_column(text: str) -> None:
    assert refusal(text) == f"{text!r} {AMBIGUOUS}"


def test_the_sign_of_the_column_decides_three_digits_behind_one_sign() -> None:
    signs: list[DecimalSign] = [".", ","]
    assert [parse_money("1.234", sign).amount for sign in signs] == [Decimal("1.234"), Decimal(1234)]
    assert [parse_money("1,234", sign).amount for sign in signs] == [Decimal(1234), Decimal("1.234")]


@pytest.mark.parametrize(
    ("texts", "sign"),
    [
        (["1.234", "4,20"], ","),
        (["1,234", "5.5 USD", "12"], "."),
        (["1.234.567"], ","),
        (["1 234 567", "1.234", "free"], None),
        (COMMA_PRICES, None),
    ],
)
def test_the_cells_of_a_column_that_are_clear_say_its_decimal_sign(texts: list[str], sign: DecimalSign | None) -> None:
    assert decimal_sign(texts) == sign


@pytest.mark.parametrize(
    ("value", "amount"),
    [(4, "4"), (4.2, "4.2"), (4.0, "4"), (-0.0, "0"), (1e-05, "0.00001"), (Decimal("1E+2"), "100"),
     (Decimal("4.20"), "4.20")],
)  # fmt: skip
def test_numbers_are_exact_amounts(value: float | Decimal, amount: str) -> None:
    assert str(money_of_number(value).amount) == amount


@pytest.mark.parametrize(
    "value",
    [-1, float("nan"), float("inf"), Decimal("sNaN"), True, 10**18, 10**400, 1e300, 1e-30, Decimal("1E-99")],
)
def test_numbers_that_are_no_amount_are_refused(value: float | Decimal) -> None:
    with pytest.raises(ValueRefused):
        money_of_number(value)
