"""Tests of `framematch.catalog.importing.gathering.gather`."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.catalog.importing.gathering.gather import MAX_VARIANTS, NO_PARENT, gather
from framematch.catalog.importing.gathering.product_group import Place, ProductGroup, ProductNotice
from framematch.catalog.importing.gathering.source_row import SourceRow
from framematch.catalog.importing.presets.preset import Layout
from framematch.catalog.importing.problems import ProblemKind, RowProblem
from framematch.catalog.importing.values.money import Money
from tests.unit.catalog.importing.gathered import good_group, on_lines, refusals, row

EUR_5 = Money(Decimal(5), "EUR")
SHIRT = row("product", "shirt", name="Shirt", images=("front.jpg",))
RED = row("variant", "shirt", sku="R", options={"Color": "Red"}, own_images=("red.jpg",))
BLUE = row("variant", "shirt", sku="B", options={"Color": "Blue"}, own_images=("blue.jpg",))
LAYOUTS: list[Layout] = ["flat", "sectioned", "parent_child"]


def named(one: SourceRow) -> SourceRow:
    return replace(one, name="Shirt")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_product_in_one_row_is_an_article_by_itself(layout: Layout) -> None:
    one = row(
        "product", "p1", line=7, name="Cup", sku="c-1", gtin="00000096385074", price=EUR_5, category="Cups",
        description="Blue.", images=("a.jpg",), own_images=("b.jpg",), attributes={"brand": "X"},
    )  # fmt: skip
    assert good_group([one], layout) == ProductGroup(
        (Place(7, 7),), Place(7, 7), "p1", "Cup", "Cups", "Blue.", EUR_5, "c-1", "00000096385074", ("a.jpg", "b.jpg"),
        {"brand": "X"},
    )  # fmt: skip


def test_flat_rows_of_one_group_are_variants_with_their_own_pictures() -> None:
    group = good_group(on_lines(named(RED), named(BLUE)), "flat")
    assert (group.id, group.name, group.images) == ("shirt", "Shirt", ())
    assert [(one.sku, one.own_images) for one in group.variants] == [("R", ("red.jpg",)), ("B", ("blue.jpg",))]


@pytest.mark.parametrize("layout", ["flat", "parent_child"])
def test_a_second_row_of_a_product_is_refused_with_the_line_of_the_first(layout: Layout) -> None:
    rows = on_lines(SHIRT, replace(SHIRT, name="Other"), SHIRT)
    assert refusals(rows, layout) == [
        (3, "duplicate id 'shirt', first on line 2"),
        (4, "duplicate id 'shirt', first on line 2"),
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_second_row_with_another_picture_and_nothing_else_adds_it(layout: Layout) -> None:
    group = good_group(on_lines(SHIRT, replace(SHIRT, images=("back.jpg",))), layout)
    assert group.images == ("front.jpg", "back.jpg")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_variants_with_one_sku_are_refused(layout: Layout) -> None:
    rows = on_lines(named(RED), named(replace(BLUE, sku="R")))
    assert refusals(rows, layout) == [(3, "duplicate sku 'R', first on line 2")]


def test_a_flat_row_whose_id_another_product_has_is_refused() -> None:
    rows = on_lines(row("product", "R", name="Other", images=("o.jpg",)), named(RED))
    assert refusals(rows, "flat") == [(3, "duplicate id 'R', first on line 2")]


def test_flat_rows_of_two_groups_that_share_an_id_are_refused() -> None:
    rows = on_lines(named(RED), named(replace(RED, id="coat")))
    expected = "shares an article with line 2, but is of the product 'coat', not 'shirt'"
    assert refusals(rows, "flat") == [(3, expected)]


def test_articles_that_a_row_lists_are_its_variants_as_they_stand_there() -> None:
    articles = (row("variant", "shirt", sku="S", gtin="00000096385074"), row("variant", "shirt", sku="M"))
    group = good_group([replace(SHIRT, variants=articles)], "flat")
    assert group.listed
    assert [(one.sku, one.gtin) for one in group.variants] == [("S", "00000096385074"), ("M", None)]


def test_an_article_that_is_listed_twice_is_refused() -> None:
    articles = (row("variant", "shirt", sku="S"), row("variant", "shirt", sku="S"))
    assert refusals([replace(SHIRT, variants=articles)], "flat") == [(2, "duplicate sku 'S', first on line 2")]


def test_the_first_row_of_a_section_is_the_product_and_a_variant() -> None:
    first = replace(SHIRT, sku="S", options={"Size": "S"}, option_names={"option1": "Size"}, price=EUR_5)
    rows = on_lines(
        first,
        row("variant", "shirt", sku="M", options={"option1": "M"}),
        row("pictures", "shirt", images=("back.jpg",)),
    )
    group = good_group(rows, "sectioned")
    assert group.images == ("front.jpg", "back.jpg")
    assert [(one.sku, one.options, one.price) for one in group.variants] == [
        ("S", {"Size": "S"}, EUR_5),
        ("M", {"Size": "M"}, None),
    ]
    assert group.price is None


def test_a_section_may_begin_with_another_row_than_that_of_the_product() -> None:
    rows = on_lines(row("pictures", "shirt", images=("back.jpg",)), RED, SHIRT)
    group = good_group(rows, "sectioned")
    assert (group.name, group.place, [one.sku for one in group.variants]) == ("Shirt", Place(4, 4), ["R"])
    assert group.images == ("front.jpg", "back.jpg")


def test_a_section_whose_rows_all_have_the_name_is_one_product_with_variants() -> None:
    rows = on_lines(*(replace(SHIRT, sku=size, options={"Size": size}, images=()) for size in "SML"))
    group = good_group([replace(rows[0], images=("front.jpg",)), *rows[1:]], "sectioned")
    assert [one.sku for one in group.variants] == ["S", "M", "L"]


def test_a_section_with_two_names_is_refused() -> None:
    rows = on_lines(SHIRT, replace(SHIRT, name="Coat", sku="C"))
    assert refusals(rows, "sectioned") == [(3, "another name than line 2 has for 'shirt' too")]


def test_a_section_with_an_article_and_no_variants_is_the_article() -> None:
    rows = on_lines(replace(SHIRT, sku="S"), row("pictures", "shirt", images=("back.jpg",)))
    group = good_group(rows, "sectioned")
    assert (group.sku, group.variants) == ("S", ())


def test_variants_without_a_sku_are_named_by_their_options() -> None:
    rows = on_lines(SHIRT, row("variant", "shirt", options={"Size": "M", "Color": "Red"}))
    assert [one.sku for one in good_group(rows, "sectioned").variants] == ["shirt/M/Red"]


def test_a_variant_that_nothing_tells_from_others_is_refused() -> None:
    expected = "no sku, and no option that tells this variant from others"
    assert refusals(on_lines(SHIRT, row("variant", "shirt", price=EUR_5)), "sectioned") == [(3, expected)]


def test_an_export_with_34_of_48_rows_without_a_title_has_14_products() -> None:
    groups = []
    for number in range(14):
        rest = [row("variant", f"p{number}", sku=f"{number}-{size}", options={"o": size}) for size in "ML"]
        pictures = [row("pictures", f"p{number}", images=(f"{number}-{view}.jpg",)) for view in "a"[: number < 6]]
        product = row("product", f"p{number}", name=f"P {number}", sku=f"{number}-S", options={"o": "S"}, images=("x",))
        groups.append(on_lines(product, *(rest if number % 2 else []), *pictures, *(rest if not number % 2 else [])))
    rows = [one for group in groups for one in group]
    untitled = sum(one.name is None for one in rows)
    assert (len(rows) - untitled, untitled) == (14, 34)
    gathered = [good_group(group, "sectioned") for group in groups]
    assert [group.id for group in gathered] == [f"p{number}" for number in range(14)]
    assert {len(group.variants) for group in gathered} == {3}


def test_children_have_the_texts_and_pictures_of_their_parent() -> None:
    parent = replace(SHIRT, category="Shirts", description="Soft.", attributes={"brand": "X"}, price=EUR_5)
    group = good_group(on_lines(RED, parent, replace(BLUE, id="id:741")), "parent_child")
    assert (group.id, group.category, group.description, group.price) == ("shirt", "Shirts", "Soft.", EUR_5)
    assert (group.images, group.attributes, group.place) == (("front.jpg",), {"brand": "X"}, Place(3, 3))
    assert [one.sku for one in group.variants] == ["R", "B"]
    assert not group.notices


def test_children_without_their_parent_are_a_product_with_a_notice() -> None:
    group = good_group(on_lines(named(RED), named(BLUE)), "parent_child")
    assert (group.id, group.name, len(group.variants)) == ("shirt", "Shirt", 2)
    assert group.notices == (ProductNotice(NO_PARENT, "line 2"),)


def test_a_product_may_name_the_rows_that_are_its_variants() -> None:
    rows = on_lines(
        row("product", "a", name="Shirt red", images=("a.jpg",)),
        row("product", "b", name="Shirt blue", images=("b.jpg",)),
        replace(SHIRT, options_by_sku={"a": {"Color": "Red"}, "b": {"Color": "Blue"}, "gone": {}}),
    )
    group = good_group(rows, "parent_child")
    assert (group.id, group.images) == ("shirt", ("front.jpg",))
    assert [(one.sku, one.own_images, one.options) for one in group.variants] == [
        ("a", ("a.jpg",), {"Color": "Red"}),
        ("b", ("b.jpg",), {"Color": "Blue"}),
    ]


def test_an_article_that_two_products_name_is_refused_with_them() -> None:
    rows = on_lines(
        replace(SHIRT, options_by_sku={"a": {}}),
        row("product", "set", name="Set", images=("s.jpg",), options_by_sku={"a": {}}),
        row("product", "a", name="A", images=("a.jpg",)),
    )
    expected = "shares an article with line 2, but is of the product 'set', not 'shirt'"
    assert refusals(rows, "parent_child") == [(3, expected)]


def test_a_listed_variant_with_a_row_of_its_own_counts_once() -> None:
    listed = (row("variant", "shirt", sku="R"), row("variant", "shirt", sku="G", own_images=("green.jpg",)))
    group = good_group(on_lines(replace(SHIRT, variants=listed), RED), "parent_child")
    assert [(one.sku, one.own_images) for one in group.variants] == [("G", ("green.jpg",)), ("R", ("red.jpg",))]
    assert not group.listed


def test_translations_fill_only_what_is_missing() -> None:
    german = row("translation", "shirt", name="Hemd", description="Weich.", attributes={"care": "kalt", "brand": "Y"})
    parent = replace(SHIRT, attributes={"brand": "X"})
    group = good_group(on_lines(parent, german, RED, row("translation", "R", name="Hemd rot")), "parent_child")
    assert (group.name, group.description) == ("Shirt", "Weich.")
    assert group.attributes == {"brand": "X", "care": "kalt"}
    assert [one.name for one in group.variants] == ["Hemd rot"]


def test_a_translation_of_a_row_that_is_not_there_is_refused() -> None:
    expected = "no row describes 'shirt' itself; this one has only texts for a part of the shop"
    assert refusals([row("translation", "shirt", name="Hemd", images=("a.jpg",))], "parent_child") == [(2, expected)]


def test_a_product_without_a_name_has_that_of_its_first_variant() -> None:
    rows = on_lines(replace(SHIRT, name=None), replace(RED, name="Shirt, red"), replace(BLUE, name="Shirt, blue"))
    assert good_group(rows, "parent_child").name == "Shirt, red"


def test_rows_without_any_name_are_refused() -> None:
    assert refusals(on_lines(RED, BLUE), "sectioned") == [(2, "no name: no row of 'shirt' has one")]


def test_rows_without_any_picture_are_refused() -> None:
    assert refusals([replace(SHIRT, images=())], "sectioned") == [(2, "no image")]


def test_a_row_without_an_id_is_refused() -> None:
    assert refusals([replace(SHIRT, id=None)], "flat") == [(2, "no id")]


def test_problems_of_single_rows_are_those_of_the_product() -> None:
    problem = RowProblem(3, 4, ProblemKind.FIELD, "price 'x' is not an amount")
    assert gather([SHIRT, problem], "sectioned") == (problem,)


def test_a_product_has_a_limited_number_of_variants() -> None:
    several = [row("variant", "shirt", sku=str(number)) for number in range(MAX_VARIANTS + 1)]
    assert len(good_group(on_lines(SHIRT, *several[1:]), "parent_child").variants) == MAX_VARIANTS
    rows = on_lines(SHIRT, *several)
    assert refusals(rows, "parent_child") == [(MAX_VARIANTS + 3, f"the product has more than {MAX_VARIANTS} variants")]


def test_notices_of_rows_are_those_of_the_product() -> None:
    rows = on_lines(replace(SHIRT, notices=("odd",)), replace(RED, notices=("odd", "strange")))
    assert good_group(rows, "parent_child").notices == (
        ProductNotice("odd", "line 2"),
        ProductNotice("odd", "line 3"),
        ProductNotice("strange", "line 3"),
    )


texts = st.sampled_from([None, "A", "B"])
pictures = st.lists(st.sampled_from(["a.jpg", "b.jpg", "c.jpg"]), max_size=2, unique=True).map(tuple)
any_rows = st.lists(
    st.builds(
        SourceRow, st.just(2), st.just(2), st.sampled_from(["product", "variant", "pictures", "translation"]),
        id=st.sampled_from(["p", "q"]), sku=texts, name=texts, description=texts, images=pictures, own_images=pictures,
        options=st.dictionaries(st.sampled_from(["Size"]), st.sampled_from("SML")),
        options_by_sku=st.dictionaries(st.sampled_from(["p", "q"]), st.just({}), max_size=1),
    ),
    min_size=1, max_size=5,
)  # fmt: skip


@given(any_rows, st.sampled_from(LAYOUTS))
def test_each_row_has_one_place_in_the_product_or_the_product_is_refused(
    several: list[SourceRow], layout: Layout
) -> None:
    rows = on_lines(*several)
    group = gather(rows, layout)
    if isinstance(group, ProductGroup):
        assert [place.line for place in group.places] == [one.line for one in rows]
        assert {name for one in rows for name in (*one.images, *one.own_images)} == set(group.picture_names)
        assert len({variant.sku for variant in group.variants}) == len(group.variants)
    else:
        assert {problem.line for problem in group} <= {one.line for one in rows}
        assert group
