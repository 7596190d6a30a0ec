"""Tests of `framematch.catalog.importing.gathering.visual_products`."""

import random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.catalog.document_limits import storage_problem
from framematch.catalog.importing.gathering.gather import MAX_VARIANTS
from framematch.catalog.importing.gathering.product_group import Place, ProductGroup, ProductNotice, Variant
from framematch.catalog.importing.gathering.variant_values import DIFFERENT, OTHER_CURRENCY
from framematch.catalog.importing.gathering.visual_products import (
    LEFT_OUT,
    MERGED,
    SEVERAL_VARIANTS,
    WITHOUT_PICTURE,
    VisualProduct,
    visual_products,
)
from framematch.catalog.importing.values.money import Money
from framematch.catalog.product import Product, Sku
from tests.unit.catalog.importing.gathered import (
    good_group,
    look,
    notices_of,
    on_lines,
    products_of,
    row,
    views_of,
    visual_of,
    visual_refusals,
)


def variant(sku: str, *own: str, line: int = 3, **fields: Any) -> Variant:
    return Variant(Place(line, line), sku, own_images=own, **fields)


def group_of(*variants: Variant, images: Sequence[str] = (), **fields: Any) -> ProductGroup:
    return ProductGroup(
        (Place(2, 2),), Place(2, 2), "shirt", "Shirt", images=tuple(images), variants=variants, **fields
    )


def money(amount: str, currency: str | None = "EUR") -> Money:
    return Money(Decimal(amount), currency)


def test_an_article_by_itself_is_a_product_with_all_its_pictures_and_no_skus() -> None:
    group = group_of(
        images=["a", "b", "a#again"], category="C", description="D", price=money("5.00"), attributes={"x": 1}
    )
    (product,) = products_of(group)
    views = tuple(views_of(["a", "b"]).values())
    assert product == Product("shirt", "Shirt", "C", Decimal("5.00"), "D", {"x": 1}, views, "EUR", ())  # type: ignore[arg-type]  # no picture is missing


@pytest.mark.parametrize(
    ("sku", "gtin", "skus"),
    [
        (None, None, ()),
        ("shirt", None, ()),
        ("s-1", None, (Sku("s-1"),)),
        (None, "00000096385074", (Sku("shirt", "00000096385074"),)),
    ],
)
def test_an_article_by_itself_has_a_sku_if_that_says_more_than_its_id(
    sku: str | None, gtin: str | None, skus: tuple[Sku, ...]
) -> None:
    (product,) = products_of(group_of(images=["a"], sku=sku, gtin=gtin))
    assert product.skus == skus


def test_variants_without_pictures_of_their_own_are_one_product_with_the_id_of_the_group() -> None:
    group = group_of(variant("s", options={"Size": "S"}), variant("m", options={"Size": "M"}), images=["a", "b"])
    (product,) = products_of(group)
    assert (product.id, product.name) == ("shirt", "Shirt")
    assert product.skus == (Sku("s", options={"Size": "S"}), Sku("m", options={"Size": "M"}))
    assert look(product, ["a", "b"])
    assert notices_of(group) == [(MERGED, "line 2: 'shirt' has 2 SKUs")]


def test_variants_with_equal_pictures_under_other_names_are_one_product() -> None:
    group = group_of(variant("s", "a#1", "b"), variant("m", "b#2", "a"), images=["front"])
    (product,) = products_of(group)
    assert product.id == "shirt"
    assert look(product, ["front", "a", "b"])


def test_variants_with_other_pictures_are_products_of_their_own() -> None:
    group = group_of(
        variant("red-s", "red", options={"Color": "Red", "Size": "S"}),
        variant("red-m", "red", options={"Color": "Red", "Size": "M"}),
        variant("blue-s", "blue", options={"Color": "Blue", "Size": "S"}, line=5),
        images=["front", "red#2"],
    )
    red, blue = visual_of(group)
    assert (red.product.id, red.product.name, red.place) == ("red-s", "Shirt, Red", Place(3, 3))
    assert (blue.product.id, blue.product.name, blue.place) == ("blue-s", "Shirt, Blue", Place(5, 5))
    assert [sku.id for sku in red.product.skus] == ["red-s", "red-m"]
    assert look(red.product, ["red"])
    assert look(blue.product, ["blue"])
    assert notices_of(group) == [(SEVERAL_VARIANTS, "line 2: 'front'"), (MERGED, "line 3: 'red-s' has 2 SKUs")]


def test_a_variant_without_pictures_of_its_own_looks_like_those_that_no_other_has() -> None:
    group = group_of(variant("red", "red"), variant("blue"), images=["red#2", "front"])
    red, blue = products_of(group)
    assert look(red, ["red"])
    assert look(blue, ["front"])
    assert not notices_of(group)


def test_variants_that_share_only_some_pictures_stay_apart() -> None:
    one, other = products_of(group_of(variant("red", "red", "label"), variant("blue", "blue", "label")))
    assert look(one, ["red", "label"])
    assert look(other, ["blue", "label"])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Shirt, red", "Shirt, blue"], ["Shirt, red", "Shirt, blue"]),
        (["Shirt", "Shirt"], ["Shirt, Red", "Shirt, Blue"]),
        ([None, None], ["Shirt, Red", "Shirt, Blue"]),
        (["Shirt", "Shirt in blue"], ["Shirt", "Shirt in blue"]),
    ],
)
def test_a_variant_has_its_own_name_or_the_options_that_tell_it_from_others(
    names: list[str | None], expected: list[str]
) -> None:
    red = variant("r", "red", name=names[0], options={"Fit": "Slim", "Color": "Red"})
    blue = variant("b", "blue", name=names[1], options={"Fit": "Slim", "Color": "Blue"})
    assert [product.name for product in products_of(group_of(red, blue))] == expected


def test_a_variant_without_options_is_named_by_its_sku() -> None:
    assert [one.name for one in products_of(group_of(variant("r", "red"), variant("b", "blue")))] == [
        "Shirt, r",
        "Shirt, b",
    ]


def test_a_bad_picture_is_left_out_and_said_once() -> None:
    group = group_of(images=["a", "missing", "b"])
    assert look(products_of(group)[0], ["a", "b"])
    assert notices_of(group) == [(LEFT_OUT, "line 2: image 'missing' not found")]


def test_a_bad_picture_refuses_the_rows_if_it_is_strict() -> None:
    group = group_of(variant("r", "missing 1"), images=["a", "missing 2"])
    assert visual_refusals(group, strict=True) == [
        (2, "image 'missing 2' not found"),
        (3, "image 'missing 1' not found"),
    ]


def test_a_product_without_any_good_picture_is_refused() -> None:
    group = group_of(variant("r", "missing 1"), images=["missing 2"])
    assert visual_refusals(group) == [(2, "image 'missing 2' not found"), (3, "image 'missing 1' not found")]


def test_a_variant_without_a_picture_is_taken_as_the_only_look_of_its_product() -> None:
    group = group_of(variant("s", "a"), variant("m", "missing", line=4))
    (product,) = products_of(group)
    assert [sku.id for sku in product.skus] == ["s", "m"]
    assert (WITHOUT_PICTURE, "line 4: 'm'") in notices_of(group)


def test_a_variant_without_a_picture_refuses_a_product_whose_others_differ() -> None:
    group = group_of(variant("r", "red"), variant("b", "blue"), variant("g", "missing", line=5), variant("y", line=6))
    assert visual_refusals(group) == [
        (5, "image 'missing' not found; no picture shows how 'g' differs from others of its product"),
        (6, "no image; no picture shows how 'y' differs from others of its product"),
    ]


def test_secrets_in_the_address_of_a_picture_are_not_in_the_notice() -> None:
    name = "https://user:secret@shop.example/a.jpg"
    group = group_of(variant("r", "red"), variant("b", "blue"), images=[name])
    assert notices_of(group) == [(SEVERAL_VARIANTS, "line 2: 'https://***@shop.example/a.jpg'")]


def test_a_price_that_all_variants_have_is_that_of_the_product() -> None:
    group = group_of(variant("s", price=money("5.00")), variant("m", price=money("5.0")), images=["a"])
    (product,) = products_of(group)
    assert (product.price, product.currency) == (Decimal(5), "EUR")
    assert [sku.price for sku in product.skus] == [None, None]


def test_variants_with_different_prices_have_them_and_the_product_has_none() -> None:
    group = group_of(variant("s", price=money("5")), variant("m"), images=["a"], price=money("6"))
    (product,) = products_of(group)
    assert (product.price, product.currency) == (None, "EUR")
    assert [sku.price for sku in product.skus] == [Decimal(5), Decimal(6)]


def test_a_variant_without_a_price_has_none_where_others_have_one() -> None:
    (product,) = products_of(group_of(variant("s", price=money("5")), variant("m"), images=["a"]))
    assert product.price is None
    assert [sku.price for sku in product.skus] == [Decimal(5), None]


def test_prices_in_another_currency_are_left_out_with_a_notice() -> None:
    group = group_of(variant("s", price=money("5")), variant("m", price=money("5", "USD")), images=["a"])
    (product,) = products_of(group)
    assert (product.price, product.currency) == (None, "EUR")
    assert [sku.price for sku in product.skus] == [Decimal(5), None]
    assert (OTHER_CURRENCY, "line 3: 5 USD") in notices_of(group)


def test_attributes_that_differ_between_merged_variants_are_left_out_with_a_notice() -> None:
    group = group_of(
        variant("s", attributes={"link": "/s", "brand": "X"}),
        variant("m", attributes={"link": "/m", "brand": "X"}),
        images=["a"],
        attributes={"fit": "slim"},
    )
    assert products_of(group)[0].attributes == {"fit": "slim", "brand": "X"}
    assert (DIFFERENT, "line 3: 'link'") in notices_of(group)


def test_a_variant_that_is_a_product_of_its_own_keeps_all_its_attributes() -> None:
    group = group_of(
        variant("r", "red", attributes={"link": "/r"}), variant("b", "blue"), attributes={"link": "/", "fit": "slim"}
    )
    assert [one.attributes for one in products_of(group)] == [
        {"link": "/r", "fit": "slim"},
        {"link": "/", "fit": "slim"},
    ]


def test_listed_articles_are_stored_as_they_stand_in_the_row() -> None:
    skus = (Sku("s", "00000096385074", Decimal("5.00"), {"Size": "S"}), Sku("m", None, None, {"Size": "M"}))
    listed = [variant(sku.id, gtin=sku.gtin, price=sku.price and Money(sku.price), options=sku.options) for sku in skus]
    group = group_of(*listed, images=["a"], price=money("5.00"), listed=True)
    (product,) = products_of(group)
    assert (product.price, product.currency, product.skus) == (Decimal("5.00"), "EUR", skus)
    assert not notices_of(group)


def test_notices_of_the_rows_come_first() -> None:
    notice = ProductNotice("odd", "line 2")
    assert notices_of(group_of(images=["missing", "a"], notices=(notice,)))[0] == ("odd", "line 2")


def test_a_product_with_too_many_articles_for_an_event_is_refused_in_words() -> None:
    def stored(count: int) -> str | None:
        several = [variant(f"{number:0100}", options={"Size": "S"}) for number in range(count)]
        (product,) = products_of(group_of(*several, images=["a"]))
        problem = storage_problem(product)
        return problem and problem[1]

    assert stored(100) is None
    assert stored(MAX_VARIANTS) == "has more than 256 kB of text"


pictures = st.lists(st.sampled_from(["a", "b", "c", "a#2", "missing"]), max_size=3, unique=True)
groups = st.builds(
    lambda images, own: group_of(*(variant(f"v{number}", *names) for number, names in enumerate(own)), images=images),
    pictures,
    st.lists(pictures, max_size=4),
).filter(lambda group: bool(group.picture_names))


def look_of(product: Product) -> frozenset[str]:
    return frozenset(view.image for view in product.views)


@given(groups)
def test_each_variant_is_in_one_product_and_no_two_products_look_the_same(group: ProductGroup) -> None:
    found = visual_products(group, views_of(group.picture_names), strict=False)
    products = [one.product for one in found if isinstance(one, VisualProduct)]
    if not products:
        return
    assert len(products) == len(found)
    ids = [sku.id for product in products for sku in product.skus or [Sku(product.id)]]
    assert sorted(ids) == sorted(one.sku for one in group.variants) or (not group.variants and ids == ["shirt"])
    looks = [look_of(product) for product in products]
    assert len(set(looks)) == len(looks)
    assert all(looks)


@given(groups)
def test_merging_what_was_merged_changes_nothing(group: ProductGroup) -> None:
    found = visual_products(group, views_of(group.picture_names), strict=False)
    products = [one.product for one in found if isinstance(one, VisualProduct)]
    names = {view: name for name, view in views_of(["a", "b", "c"]).items()}
    again = group_of(*(variant(one.id, *(names[view] for view in one.views)) for one in products))
    if products:
        assert [look_of(product) for product in products_of(again)] == [look_of(product) for product in products]


@given(st.lists(pictures, min_size=1, max_size=4), pictures, st.randoms())
def test_the_order_of_rows_changes_only_which_variant_is_first(
    own: list[list[str]], images: list[str], shuffler: random.Random
) -> None:
    rows = [row("variant", "shirt", sku=f"v{number}", own_images=tuple(names)) for number, names in enumerate(own)]
    rows.append(row("product", "shirt", name="Shirt", images=("whole", *images)))
    shuffled = list(rows)
    shuffler.shuffle(shuffled)

    def looks(several: list[Any]) -> set[tuple[frozenset[str], frozenset[str]]]:
        products = products_of(good_group(on_lines(*several), "parent_child"))
        return {(look_of(one), frozenset(sku.id for sku in one.skus or [Sku(one.id)])) for one in products}

    assert looks(shuffled) == looks(rows)


def test_variants_that_were_merged_can_be_imported_again() -> None:
    group = group_of(variant("s"), variant("m"), images=["a"])
    (product,) = products_of(group)
    again = replace(group, variants=tuple(variant(sku.id, gtin=sku.gtin) for sku in product.skus), listed=True)
    assert products_of(again) == [product]
