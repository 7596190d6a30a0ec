"""The text that a search by words looks at."""

from typing import Any

import pytest

from framematch.catalog.product import Product, Sku, content_of
from framematch.catalog.search_text import MAX_BYTES, folded, words_filter


def text_of(product: Product) -> str:
    text: str = content_of(product)["search_text"]
    return text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Äpfel,  süß", "apfel, suss"),
        ("CRÈME BRÛLÉE", "creme brulee"),
        ("A\u0308pfel", "apfel"),
        ("ﬁlet", "filet"),
        ("\u0130stanbul", "istanbul"),
        ("牛乳", "牛乳"),
    ],
)
def test_case_accents_and_spaces_do_not_matter(text: str, plain: str) -> None:
    assert folded(text) == plain


def test_the_text_has_all_that_a_product_is_known_by() -> None:
    product = Product(
        "p", "Milch", "Molkerei", None, "Frisch", {"Brand": "Ärla", "origin": "DK"},
        skus=(Sku("M-1", "04006381333931"), Sku("M-2")),
    )  # fmt: skip
    assert text_of(product).split("\n") == ["milch", "molkerei", "arla", "m-1", "04006381333931", "m-2", "frisch"]


def test_a_long_text_is_cut_between_characters_and_keeps_the_name() -> None:
    text = text_of(Product("p", "Milk", description="牛" * 5_000))
    assert text.startswith("milk\n牛")
    assert MAX_BYTES - 3 < len(text.encode()) <= MAX_BYTES


@pytest.mark.parametrize("words", [None, "", " \t"])
def test_no_words_select_all_products(words: str | None) -> None:
    assert words_filter(words) == {}


def test_characters_with_a_meaning_in_patterns_are_taken_as_they_are() -> None:
    found: Any = words_filter("a.b* (c")
    in_text, starts_id = found["$or"]
    assert [one["$or"][0]["search_text"]["$regex"] for one in in_text["$and"]] == [r"a\.b\*", r"\(c"]
    assert starts_id == {"_id": {"$regex": r"^a\.b\*\ \(c"}}
